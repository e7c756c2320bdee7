"""What is known of one redemption, merged over all its deliveries, and what follows from that alone. Pure."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, TypeVar

from msgspec import Struct

from handlers.loyalty.details import merge_details

MERGED = (
    "order_id",
    "parent_id",
    "customer_id",
    "amount",
    "total_amount",
    "total_discount_amount",
    "voucher_type",
    "channel_type",
    "order_status",
    "date",
)
"""The fields that may be absent. A field's place is its bit in `Facts.conflicts`: never reorder."""

Key = tuple[int, str]
"""A tenant's number and the id of a redemption, order or customer. Sorts as the database does, which the lock
order needs. A plain tuple: a batch makes some ten of them for each event."""


Keyed = TypeVar("Keyed", bound=tuple[Any, ...])


def in_key_order(rows: Iterable[Keyed]) -> list[Keyed]:
    """Sorted by their first two columns, tenant and id, as the database does. One after the other: to compare
    tuples takes twice as long."""
    ordered = sorted(rows, key=itemgetter(1))
    ordered.sort(key=itemgetter(0))
    return ordered


class Facts(Struct, frozen=True, gc=False):
    """One redemption. With neither `succeeded` nor `reversed`, a placeholder for a parent that a child named.

    Amounts are minor units, `date` is milliseconds since 1970 UTC; None means that no delivery told.
    """

    redemption_id: str
    order_id: str | None = None
    parent_id: str | None = None
    customer_id: str | None = None
    amount: int | None = None
    total_amount: int | None = None
    total_discount_amount: int | None = None
    voucher_type: str | None = None
    channel_type: str | None = None
    order_status: str | None = None
    date: int | None = None
    has_voucher: bool = False
    has_tier: bool = False
    has_reward: bool = False
    succeeded: bool = False
    reversed: bool = False
    conflicts: int = 0
    """A bit for each of MERGED for which deliveries told different values, the next one for `details`."""
    details: str | None = None
    """What else a policy asks for, as canonical JSON (handlers.loyalty.details)."""

    @property
    def order_key(self) -> str | None:
        """The order that the redemption belongs to; None while only a reversal or a child told of it."""
        if not self.succeeded:
            return None
        return self.order_id or self.parent_id or self.redemption_id

    @property
    def is_stack_parent(self) -> bool:
        return self.succeeded and not (self.parent_id or self.has_voucher or self.has_tier)

    @property
    def counts(self) -> bool:
        """Whether it may earn points, as long as nobody reverses it."""
        return self.bar is None

    @property
    def bar(self) -> str | None:
        """What keeps it from earning points, in words."""
        if not self.succeeded:
            return "no success is known"
        if self.voucher_type == "LOYALTY_CARD":
            return "points are being spent (LOYALTY_CARD)"
        if self.has_reward:
            return "it is a reward"
        if self.channel_type == "AUTO_REDEEM":
            return "nobody redeemed it (AUTO_REDEEM)"
        if self.order_status in ("CREATED", "CANCELED"):
            return f"its order is {self.order_status}"
        return None

    @property
    def discount(self) -> int:
        """Zero discounts are left out of payloads."""
        return self.total_discount_amount or 0

    @property
    def base(self) -> int | None:
        """What the points are for, in minor units: what the order came to after all discounts."""
        if self.total_amount is not None:
            return self.total_amount
        return None if self.amount is None else self.amount - self.discount


def merge(one: Facts, other: Facts) -> Facts:
    """All that two deliveries told of one redemption. Commutative, associative, idempotent.

    Known beats absent; of two different known values the smaller wins, for lack of a clock to trust.
    """
    conflicts = one.conflicts | other.conflicts
    known: dict[str, Any] = {}
    for place, field in enumerate(MERGED):
        mine, theirs = getattr(one, field), getattr(other, field)
        if mine is None or theirs is None:
            known[field] = theirs if mine is None else mine
            continue
        if mine != theirs:
            conflicts |= 1 << place
        known[field] = min(mine, theirs)
    details, differ = merge_details(one.details, other.details)
    if differ:
        conflicts |= 1 << len(MERGED)
    return Facts(
        one.redemption_id,
        **known,
        has_voucher=one.has_voucher or other.has_voucher,
        has_tier=one.has_tier or other.has_tier,
        has_reward=one.has_reward or other.has_reward,
        succeeded=one.succeeded or other.succeeded,
        reversed=one.reversed or other.reversed,
        conflicts=conflicts,
        details=details,
    )
