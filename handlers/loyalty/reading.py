"""From a redemption event to the facts it tells, or the refusal of a field that is needed and unusable."""

from typing import Any

from msgspec.structs import astuple

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from events.moments import moment_of
from events.payload import Data, Order, Redemption
from handlers.loyalty.details import read_details
from handlers.loyalty.facts import Facts
from handlers.loyalty.policy import STANDARD, Policy
from handlers.loyalty.readings import amount_of, id_of, word_of


def read(event: RedemptionEvent, policy: Policy = STANDARD) -> Facts:
    """The facts that one delivery tells, with the details that the policy asks for; raises Refused.

    Of a rollback nothing but the reversal is read.
    """
    if event.kind is Kind.ROLLED_BACK:
        return Facts(event.redemption_id, reversed=True)
    data, redemption = event.data, event.data.redemption or Redemption()
    order = _order(data.order, redemption.order)
    total_amount = amount_of(order.total_amount, "order.total_amount")
    voucher_type = _voucher_type(data, redemption)
    # By position: by name msgspec's structs take seven times as long to make, were they as long as this one.
    return Facts(
        event.redemption_id,
        id_of(order.id, "unfit_order_id", "order.id"),
        id_of(redemption.redemption, "unfit_parent_id", "redemption.redemption"),
        id_of(_customer(data, redemption, order), "unfit_customer_id", "the customer's id"),
        _pre_discount(order.amount, needed=policy.needs_amount or total_amount is None),
        total_amount,
        amount_of(order.total_discount_amount, "order.total_discount_amount"),
        voucher_type,
        word_of(redemption.channel.channel_type) if redemption.channel else None,
        word_of(order.status),
        moment_of(redemption.date),
        data.voucher is not None or redemption.voucher is not None,  # has_voucher
        data.promotion_tier is not None or redemption.promotion_tier is not None,  # has_tier
        redemption.reward is not None,  # has_reward
        True,  # succeeded
        False,  # reversed
        0,  # conflicts
        read_details(event, policy.details, voucher_type),
    )


def _order(order: Order | None, snapshot: Order | None) -> Order:
    """The order as it is now; what it leaves out is taken from the redemption's snapshot of it."""
    if order is None or snapshot is None:
        return order or snapshot or Order()
    told = astuple(order)
    return Order(*map(_first_known, told, astuple(snapshot))) if None in told else order


def _first_known(one: Any, other: Any) -> Any:
    return other if one is None else one


def _customer(data: Data, redemption: Redemption, order: Order) -> Any:
    """Who redeemed: the first place that names anybody."""
    if data.customer is not None and data.customer.id is not None:
        return data.customer.id
    if redemption.customer_id is not None:
        return redemption.customer_id
    if redemption.customer is not None and redemption.customer.id is not None:
        return redemption.customer.id
    return order.customer_id


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
