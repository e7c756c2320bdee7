"""What Voucherify documents of redemption events: keys of the top level, words of closed lists, event types.

Nothing fails for not being here: it is counted, so that somebody notices before it matters.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

ENVELOPE_KEYS = frozenset({"id", "project_id", "created_at", "type", "data", "source", "event"})
DATA_KEYS = frozenset(
    {
        "customer",
        "order",
        "campaign",
        "voucher",
        "holder",
        "promotion_tier",
        "promotion_stack",
        "redemption",
        "redemption_rollback",
        "created_at",
    }
)

Result = Literal["SUCCESS", "FAILURE"]
Status = Literal["SUCCEEDED", "FAILED", "ROLLED BACK", "ROLLED_BACK"]
OrderStatus = Literal["CREATED", "PAID", "CANCELED", "FULFILLED"]
VoucherType = Literal["DISCOUNT_VOUCHER", "LOYALTY_CARD", "GIFT_VOUCHER"]
ChannelType = Literal["USER", "API", "AUTO_REDEEM"]
VOUCHER_TYPES = frozenset(get_args(VoucherType))
EFFECTS = frozenset(
    {
        "APPLY_TO_ORDER",
        "APPLY_TO_ITEMS",
        "APPLY_TO_ITEMS_PROPORTIONALLY",
        "APPLY_TO_ITEMS_PROPORTIONALLY_BY_QUANTITY",
        "APPLY_TO_ITEMS_BY_QUANTITY",
        "ADD_MISSING_ITEMS",
        "ADD_NEW_ITEMS",
        "ADD_MANY_ITEMS",
        "ADD_SAME_ITEMS",
    }
)


def _named(object: str) -> frozenset[str]:
    return frozenset({object})


Words = Mapping[str, Any]
"""By key: the words of a closed list, or the same of the object (or list of objects) of that key."""

_CUSTOMER: Words = {"object": _named("customer")}
_ORDER: Words = {
    "object": _named("order"),
    "status": frozenset(get_args(OrderStatus)),
    "items": {"object": _named("order_item"), "related_object": frozenset({"product", "sku"})},
}
_DISCOUNT: Words = {"type": frozenset({"AMOUNT", "PERCENT", "FIXED", "UNIT"}), "effect": EFFECTS}
_VOUCHER: Words = {
    "object": _named("voucher"),
    "type": VOUCHER_TYPES,
    "discount": _DISCOUNT,
    "gift": {"effect": EFFECTS},
}
_REDEMPTION: Words = {
    "object": frozenset({"redemption", "redemption_rollback"}),
    "result": frozenset(get_args(Result)),
    "status": frozenset(get_args(Status)),
    "customer": _CUSTOMER,
    "order": _ORDER,
    "voucher": _VOUCHER,
    "reward": {"object": _named("reward"), "type": frozenset({"CAMPAIGN", "COIN", "MATERIAL"})},
    "channel": {"channel_type": frozenset(get_args(ChannelType))},
}
DATA_WORDS: Words = {
    "customer": _CUSTOMER,
    "holder": _CUSTOMER,
    "order": _ORDER,
    "campaign": {
        "object": _named("campaign"),
        "type": frozenset({"AUTO_UPDATE", "STATIC", "STANDALONE"}),
        "campaign_type": frozenset(
            {"DISCOUNT_COUPONS", "GIFT_VOUCHERS", "LOYALTY_PROGRAM", "PROMOTION", "REFERRAL_PROGRAM"}
        ),
        "voucher": {"type": VOUCHER_TYPES, "discount": _DISCOUNT},
    },
    "voucher": _VOUCHER,
    "promotion_stack": {"tiers": {"hierarchy_mode": _named("MANUAL")}},
    "redemption": _REDEMPTION,
    "redemption_rollback": _REDEMPTION,
}
ENVELOPE_WORDS: Words = {
    "source": {"object": frozenset({"webhook", "distribution"})},
    "event": {
        "event_source": {"channel": frozenset({"USER_PORTAL", "API", "CLIENT_API", "INTERNAL"})},
    },
}

EVENT_TYPES = frozenset(
    {
        "business_validation_rule.assignment.created",
        "business_validation_rule.assignment.deleted",
        "business_validation_rule.created",
        "business_validation_rule.deleted",
        "business_validation_rule.updated",
        "campaign.created",
        "campaign.deleted",
        "campaign.disabled",
        "campaign.enabled",
        "campaign.updated",
        "campaign.vouchers.generation.completed",
        "customer.created",
        "customer.custom_event",
        "customer.deleted",
        "customer.entered.segment",
        "customer.loyalty.tier.downgraded",
        "customer.loyalty.tier.joined",
        "customer.loyalty.tier.left",
        "customer.loyalty.tier.prolonged",
        "customer.loyalty.tier.upgraded",
        "customer.order.canceled",
        "customer.order.created",
        "customer.order.paid",
        "customer.order.updated",
        "customer.publication.succeeded",
        "customer.rewarded",
        "customer.rewarded.loyalty_points",
        "customer.segment.entered",
        "customer.segment.left",
        "customer.voucher.gift.balance_added",
        "customer.voucher.loyalty_card.points_added",
        "customer.voucher.loyalty_card.points_expired",
        "manual_distribution_schedule",
        "publication.succeeded",
        "voucher.created",
        "voucher.deleted",
        "voucher.disabled",
        "voucher.enabled",
        "voucher.gift.balance_added",
        "voucher.loyalty_card.points_added",
        "voucher.published",
        "voucher.updated",
    }
)
"""Those that do not concern us; HAPPENINGS has the others."""
