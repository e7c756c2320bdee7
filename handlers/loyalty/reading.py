"""From a redemption event to the facts it tells, or the refusal of a field that is needed and unusable."""

from datetime import UTC, datetime, timedelta
from typing import Any

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from events.payload import Data, Redemption
from handlers.loyalty.details import read_details
from handlers.loyalty.facts import Facts
from handlers.loyalty.policy import EPOCH, STANDARD, Policy
from handlers.loyalty.readings import amount_of, id_of, word_of


def read(event: RedemptionEvent, policy: Policy = STANDARD) -> Facts:
    """The facts that one delivery tells, with the details that the policy asks for; raises Refused.

    Of a rollback nothing but the reversal is read.
    """
    if event.kind is Kind.ROLLED_BACK:
        return Facts(event.redemption_id, reversed=True)
    data, redemption = event.data, event.data.redemption or Redemption()
    total_amount = amount_of(_of_order(data, "total_amount"), "order.total_amount")
    voucher_type = _voucher_type(data, redemption)
    return Facts(
        event.redemption_id,
        order_id=id_of(_of_order(data, "id"), "unfit_order_id", "order.id"),
        parent_id=id_of(redemption.redemption, "unfit_parent_id", "redemption.redemption"),
        customer_id=id_of(_customer(data, redemption), "unfit_customer_id", "the customer's id"),
        amount=_pre_discount(_of_order(data, "amount"), needed=policy.needs_amount or total_amount is None),
        total_amount=total_amount,
        total_discount_amount=amount_of(
            _of_order(data, "total_discount_amount"), "order.total_discount_amount"
        ),
        voucher_type=voucher_type,
        channel_type=word_of(redemption.channel.channel_type) if redemption.channel else None,
        order_status=word_of(_of_order(data, "status")),
        date=_date(redemption.date),
        has_voucher=data.voucher is not None or redemption.voucher is not None,
        has_tier=data.promotion_tier is not None or redemption.promotion_tier is not None,
        has_reward=redemption.reward is not None,
        succeeded=True,
        details=read_details(event, policy.details, voucher_type),
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
        if voucher is not None and (known := word_of(voucher.type)) is not None:
            return known
    return None


def _pre_discount(value: Any, needed: bool) -> int | None:
    """`order.amount` is needed where the total is absent, or by a policy: else its faults do not matter."""
    try:
        return amount_of(value, "order.amount")
    except Refused:
        if needed:
            raise
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
