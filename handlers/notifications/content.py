"""What a message can say: an event, the people in it and what the ledger has posted. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from handlers.loyalty.readings import UNPRINTABLE, amount_of, word_of
from handlers.loyalty.standing import Standing
from handlers.notifications.people import Person, customer_of, first_word, found, holder_of, table
from handlers.notifications.policy import Money

LONGEST_TEXT = 1_000
CLEAR = 4
"""Characters of a code that are shown, at most, and never more than a third of it."""
DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Marks that turn round what follows, until another one ends it."""
AMOUNTS = ("amount", "total_discount_amount", "total_amount")


def content_of(
    event: RedemptionEvent, payload: dict[str, Any], standing: Standing | None, key: str
) -> dict[str, Any]:
    """The document that a webhook gets by default: ids, amounts in minor units, points; null is unknown."""
    redemption, (customer_id, customer) = table(payload, "redemption"), customer_of(payload)
    rolled_back = event.kind is Kind.ROLLED_BACK
    voucher = table(payload, "voucher") or table(redemption, "voucher")
    orders = tuple(_orders(payload))
    order_id = first_word(*(order.get("id") for order in orders))
    return {
        "key": key,
        "kind": event.kind.value,
        "tenant": event.tenant,
        "redemption_id": event.redemption_id,
        "rollback_id": event.rollback_id,
        "stack_id": standing.parent_id if standing else None,
        "date": date_of(event, payload),
        "reason": text_of(table(payload, "redemption_rollback").get("reason")) if rolled_back else None,
        "customer_id": customer_id or (standing.customer_id if standing else None),
        "customer": _person(customer),
        "holder_id": holder_of(payload)[0],
        "order_id": order_id,
        "order": {
            "id": order_id,
            "source_id": first_word(*(order.get("source_id") for order in orders)),
            "status": first_word(*(order.get("status") for order in orders)),
        }
        | {name: _amount(orders, name) for name in AMOUNTS},
        "voucher": {"code": masked(voucher.get("code")), "type": word_of(voucher.get("type"))},
        "campaign": campaign_of(payload),
        "points": standing.points if standing else None,
        "balance": standing.balance if standing else None,
    }


def variables_of(
    content: dict[str, Any], payload: dict[str, Any], person: Person, money: Money
) -> dict[str, Any]:
    """What templates may use: the content, metadata, and who is written to."""
    order = next(_orders(payload), {})
    currency = found(order, money.path) if money.path else None
    fits = isinstance(currency, str) and len(currency) == 3 and currency.isascii() and currency.isupper()
    metadata = {name: _texts(table(source, "metadata")) for name, source in _owners(payload, order)}
    return content | {
        "customer": content["customer"] | {"metadata": metadata["customer"]},
        "order": content["order"] | {"metadata": metadata["order"]},
        "redemption": {"id": content["redemption_id"], "metadata": metadata["redemption"]},
        "person": _person(person.fields),
        "locale": person.locale,
        "zone": person.zone,
        "currency": currency if fits else money.currency,
    }


def _owners(payload: dict[str, Any], order: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "customer", customer_of(payload)[1]
    yield "order", order
    yield "redemption", table(payload, "redemption")


def _person(fields: dict[str, Any]) -> dict[str, Any]:
    name = text_of(fields.get("name"))
    return {
        "id": text_of(fields.get("id")),
        "name": name,
        "first_name": name.split()[0] if name and name.split() else None,
        "email": text_of(fields.get("email")),
        "source_id": text_of(fields.get("source_id")),
    }


def _orders(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The order, then the snapshot in the redemption, which fills what the former leaves out."""
    for order in (table(payload, "order"), table(table(payload, "redemption"), "order")):
        if order:
            yield order


def order_amount(payload: dict[str, Any], name: str) -> int | None:
    """Minor units. What is no amount is unknown: it is the ledger's to complain."""
    return _amount(_orders(payload), name)


def _amount(orders: Iterable[dict[str, Any]], name: str) -> int | None:
    for order in orders:
        try:
            amount = amount_of(order.get(name), name)
        except Refused:
            continue
        if amount is not None:
            return amount
    return None


def campaign_of(payload: dict[str, Any]) -> dict[str, str | None]:
    """A payload without its campaign may still name it beside the voucher, or in the promotion's tier."""
    redemption = table(payload, "redemption")
    vouchers = table(payload, "voucher"), table(redemption, "voucher")
    tiers = table(payload, "promotion_tier"), table(redemption, "promotion_tier")
    named = [table(payload, "campaign"), *(table(tier, "campaign") for tier in tiers)]
    return {
        "id": first_word(*(one.get("id") for one in named), *(one.get("campaign_id") for one in vouchers)),
        "name": first_word(*(one.get("name") for one in named), *(one.get("campaign") for one in vouchers)),
    }


def date_of(event: RedemptionEvent, payload: dict[str, Any]) -> str | None:
    """When it happened, ISO 8601 as delivered: a rollback has a date of its own."""
    place = "redemption_rollback" if event.kind is Kind.ROLLED_BACK else "redemption"
    return word_of(table(payload, place).get("date"))


def masked(code: Any) -> str | None:
    """A code that nobody can use who reads the message: whoever owns it knows the rest."""
    text = text_of(code)
    return text[: min(CLEAR, len(text) // 3)] + "***" if text else None


def text_of(value: Any) -> str | None:
    """A text from outside, without control characters and not too long, that ends in the direction that the
    words around it have."""
    if not isinstance(value, str):
        return None
    return DIRECTIONS.sub(" ", UNPRINTABLE.sub(" ", value[:LONGEST_TEXT]))


def _texts(metadata: dict[str, Any]) -> dict[str, Any]:
    """Texts, whole numbers and yes or no: all that a template has a use for."""
    return {
        key: value if isinstance(value, bool | int) else text_of(value)
        for key, value in metadata.items()
        if isinstance(value, bool | int | str)
    }
