"""What of the facts is odd, for the metrics: an oddity is told when it comes up, not again by a duplicate."""

from collections.abc import Iterator

from handlers.loyalty.fact_store import Learned
from handlers.loyalty.facts import MERGED, Facts
from handlers.loyalty.policy import Policy
from handlers.loyalty.reckoning import base_of

FIELDS = (*MERGED, "details")
"""By bit of `Facts.conflicts`."""


def oddities(learned: Learned, policy: Policy) -> Iterator[str]:
    """`conflict_FIELD`: deliveries tell different values, the smaller one counts. `negative_base`: no points.
    `inconsistent_total`: the order's total is not its amount without discounts; the total counts."""
    for key in learned.changed:
        before, after = learned.before.get(key), learned.after[key]
        known = 0 if before is None else before.conflicts
        if after.conflicts != known:
            yield from (f"conflict_{field}" for field in conflicting(after.conflicts & ~known))
        if _is_negative(after, policy) and not (before and _is_negative(before, policy)):
            yield "negative_base"
        if _is_inconsistent(after) and not (before and _is_inconsistent(before)):
            yield "inconsistent_total"


def conflicting(conflicts: int) -> list[str]:
    """The names of the fields whose bits are set."""
    return [field for place, field in enumerate(FIELDS) if conflicts >> place & 1]


def _is_negative(facts: Facts, policy: Policy) -> bool:
    if not facts.succeeded or (version := policy.version_at(facts.date)) is None:
        return False
    base = base_of(version, facts)
    return base is not None and base < 0


def _is_inconsistent(facts: Facts) -> bool:
    amount, total = facts.amount, facts.total_amount
    return amount is not None and total is not None and total != amount - facts.discount
