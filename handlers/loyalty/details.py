"""What a policy may ask of a redemption beyond the usual facts, as one flat JSON object. Pure.

The names in use: `campaign.id`, `.name`, `.type`, `.category`, `.category_id`, `holder`, `gift` (credits
used, minor units), `discount` (given by this redemption), `items.amount` and `items.subtotal_amount` (lists
of product, SKU, source id and figure), `order.metadata.KEY` and `customer.metadata.KEY` (texts),
`order.number.KEY` and
`customer.number.KEY` (numbers as texts).
"""

from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from events.event import RedemptionEvent, Shape
from events.failures import Refused
from events.ids import LONGEST_ID
from events.reading import read_whole
from handlers.loyalty.readings import amount_of, id_of, number_of, word_of

Details = dict[str, Any]
FIGURES = {"items.amount": "amount", "items.subtotal_amount": "subtotal_amount"}
SMALLEST_EXPONENT = -9
LARGEST_NUMBER = 2**53


def read_details(event: RedemptionEvent, asked: Collection[str], voucher_type: str | None) -> str | None:
    """What one delivery tells of what is asked, as canonical JSON; None if nothing. Raises Refused."""
    if not asked:
        return None
    payload = payload_of(event)
    told = {name: value for name in asked if (value := _read(payload, name, voucher_type)) is not None}
    return _canonical(told).decode() if told else None


def merge_details(one: str | None, other: str | None) -> tuple[str | None, bool]:
    """Both together, and whether they differ somewhere: the canonically smaller of two values wins."""
    if one == other or one is None or other is None:
        return (other if one is None else one), False
    mine, theirs = parsed(one), parsed(other)
    differ = any(mine[name] != theirs[name] for name in mine.keys() & theirs.keys())
    both = {
        name: min((each[name] for each in (mine, theirs) if name in each), key=_canonical)
        for name in mine.keys() | theirs.keys()
    }
    return _canonical(both).decode(), differ


def parsed(details: str | None) -> Details:
    told: Details = msgspec.json.decode(details) if details is not None else {}
    return told


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def payload_of(event: RedemptionEvent) -> Details:
    """Every key of the payload, out of whatever it came in."""
    whole = read_whole(event.body)
    inner = whole.get("data")
    return inner if event.shape is not Shape.RAW and isinstance(inner, dict) else whole


def _read(payload: Details, name: str, voucher_type: str | None) -> Any:
    owner, _, rest = name.partition(".")
    match owner, rest.partition("."):
        case "campaign", (field, _, _):
            return _campaign(payload, field)
        case "holder", _:
            return id_of(_first(_holders(payload)), "unfit_holder_id", "the holder's id")
        case "gift", _:
            # Of a loyalty card the same field counts points.
            spent = voucher_type in (None, "GIFT_VOUCHER")
            return amount_of(_at(payload, "redemption", "amount"), "redemption.amount") if spent else None
        case "discount", _:
            value = _first(order.get("total_applied_discount_amount") for order in _orders(payload))
            return amount_of(value, "order.total_applied_discount_amount")
        case "items", (field, _, _):
            items = next(
                (order["items"] for order in _orders(payload) if isinstance(order.get("items"), list)), None
            )
            return None if items is None else _items(items, field)
        case (("order" | "customer"), ("metadata", _, key)):
            return _text(_metadata(payload, owner, key))
        case (("order" | "customer"), ("number", _, key)):
            return _exact(_metadata(payload, owner, key), f"{owner}.metadata.{key}")
    raise AssertionError(f"no detail has the name {name}")


def _campaign(payload: Details, field: str) -> str | None:
    """A payload without its campaign may still name it beside the voucher or in the promotion's tier."""
    places = {"type": "campaign_type"}
    told = [_at(payload, "campaign", places.get(field, field))]
    told += [
        _at(payload, *path, "campaign", field)
        for path in (("promotion_tier",), ("redemption", "promotion_tier"))
    ]
    beside = {"id": "campaign_id", "name": "campaign"}.get(field)
    if beside is not None:
        told += [_at(payload, *path, beside) for path in (("voucher",), ("redemption", "voucher"))]
    return next((text for value in told if (text := word_of(value, LONGEST_ID)) is not None), None)


def _holders(payload: Details) -> Iterator[Any]:
    yield _at(payload, "holder", "id")
    yield _at(payload, "voucher", "holder_id")
    yield _at(payload, "redemption", "voucher", "holder_id")


def _orders(payload: Details) -> list[Details]:
    """The order, then the snapshot in the redemption, which fills what the former leaves out."""
    places = (_at(payload, "order"), _at(payload, "redemption", "order"))
    return [order for order in places if isinstance(order, dict)]


def _items(items: list[Any], figure: str) -> list[list[Any]]:
    """Sorted: the same items in another order are the same fact."""
    told = [
        [
            word_of(item.get("product_id") or _at(item, "product", "id"), LONGEST_ID),
            word_of(item.get("sku_id") or _at(item, "sku", "id"), LONGEST_ID),
            word_of(item.get("source_id"), LONGEST_ID),
            amount_of(item.get(figure), f"order.items.{figure}"),
        ]
        for item in items
        if isinstance(item, dict)
    ]
    return sorted(told, key=_canonical)


def _metadata(payload: Details, owner: str, key: str) -> Any:
    return _first(_at(payload, *path, owner, "metadata", key) for path in ((), ("redemption",)))


def _text(value: Any) -> str | None:
    """A value as conditions compare it: Voucherify sends both true and "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | Decimal) and (number := _plain(value)) is not None:
        return number
    return word_of(value, LONGEST_ID)


def _exact(value: Any, place: str) -> str | None:
    """A number of any unit; raises Refused for what is none."""
    if value is None:
        return None
    number = number_of(value)
    text = None if number is None else _plain(number)
    if text is None:
        raise Refused("unfit_amount", f"{place} is not a number within 2^53 of at most 9 decimal places")
    return text


def _plain(number: int | Decimal) -> str | None:
    """`1.50` and `1.5` are one text; None for a number too large or too fine to compute with."""
    if isinstance(number, Decimal):
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < SMALLEST_EXPONENT or number.adjusted() > 16:
            return None
    if not -LARGEST_NUMBER <= number <= LARGEST_NUMBER:
        return None
    return format(Decimal(number).normalize(), "f") if number else "0"


def _first(values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _at(value: Any, *path: str) -> Any:
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
