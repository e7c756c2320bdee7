"""From a redemption event to the facts it tells, or the refusal of a field that is needed and unusable."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from events.payload import Data, Redemption
from handlers.loyalty.facts import Facts

LARGEST_AMOUNT = 2**53
LONGEST_ID = 255
LONGEST_WORD = 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUOTED_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def read(event: RedemptionEvent) -> Facts:
    """The facts that one delivery tells; raises Refused. Of a rollback nothing but the reversal is read."""
    if event.kind is Kind.ROLLED_BACK:
        return Facts(event.redemption_id, reversed=True)
    data, redemption = event.data, event.data.redemption or Redemption()
    total_amount = _amount(_of_order(data, "total_amount"), "order.total_amount")
    return Facts(
        event.redemption_id,
        order_id=_id(_of_order(data, "id"), "unfit_order_id", "order.id"),
        parent_id=_id(redemption.redemption, "unfit_parent_id", "redemption.redemption"),
        customer_id=_id(_customer(data, redemption), "unfit_customer_id", "the customer's id"),
        amount=_fallback_amount(_of_order(data, "amount"), total_amount),
        total_amount=total_amount,
        total_discount_amount=_amount(
            _of_order(data, "total_discount_amount"), "order.total_discount_amount"
        ),
        voucher_type=_voucher_type(data, redemption),
        channel_type=_word(redemption.channel.channel_type) if redemption.channel else None,
        order_status=_word(_of_order(data, "status")),
        date=_date(redemption.date),
        has_voucher=data.voucher is not None or redemption.voucher is not None,
        has_tier=data.promotion_tier is not None or redemption.promotion_tier is not None,
        has_reward=redemption.reward is not None,
        succeeded=True,
    )


def _of_order(data: Data, field: str) -> Any:
    """A field of `data.order`, or of the snapshot in the redemption where the former has none."""
    value = getattr(data.order, field, None)
    if value is None and data.redemption is not None:
        return getattr(data.redemption.order, field, None)
    return value


def _customer(data: Data, redemption: Redemption) -> Any:
    """Who redeemed: the first place that names anybody."""
    candidates = (
        data.customer and data.customer.id,
        redemption.customer_id,
        redemption.customer and redemption.customer.id,
        _of_order(data, "customer_id"),
    )
    return next((each for each in candidates if each is not None), None)


def _voucher_type(data: Data, redemption: Redemption) -> str | None:
    """One of the two places may hold a stub without a type."""
    for voucher in (data.voucher, redemption.voucher):
        if voucher is not None and (known := _word(voucher.type)) is not None:
            return known
    return None


def _id(value: Any, reason: str, place: str) -> str | None:
    """An id becomes a key: a database would refuse NUL and surrogates, and an index a long one."""
    if value is None:
        return None
    if isinstance(value, str) and not UNPRINTABLE.search(value) and 0 < len(value.encode()) <= LONGEST_ID:
        return value
    raise Refused(reason, f"{place} is not a text of 1 to {LONGEST_ID} bytes without control characters")


def _word(value: Any) -> str | None:
    """A value of an open list. What is no word reads as absent: the rules ask only for a few known ones."""
    fits = isinstance(value, str) and 0 < len(value) <= LONGEST_WORD and not UNPRINTABLE.search(value)
    return value if fits else None


def _amount(value: Any, place: str) -> int | None:
    """Minor units: a whole number, `10.0` and a quoted one included."""
    if value is None:
        return None
    amount = _number(value)
    # Compared before it becomes an int: int(Decimal("1E+999999999")) would need a gigabyte.
    if amount is None or not -LARGEST_AMOUNT <= amount <= LARGEST_AMOUNT or amount != int(amount):
        raise Refused("unfit_amount", f"{place} is not a whole number of minor units within 2^53")
    return int(amount)


def _fallback_amount(value: Any, total_amount: int | None) -> int | None:
    """`order.amount` is needed only where the total is absent: beside a total its faults do not matter."""
    try:
        return _amount(value, "order.amount")
    except Refused:
        if total_amount is None:
            raise
        return None


def _number(value: Any) -> int | Decimal | None:
    match value:
        case bool():
            return None
        case int():
            return value
        case Decimal():
            return value if value.is_finite() else None
        case str() if QUOTED_NUMBER.fullmatch(value):
            return Decimal(value)
    return None


def _date(value: Any) -> int | None:
    """Milliseconds since 1970. A date that cannot be read is absent: it never fails an event."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(milliseconds=1)
