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
        if odd := _of(learned.after[key], policy):
            before = learned.before.get(key)
            known = () if before is None else _of(before, policy)
            yield from (what for what in odd if what not in known)


def _of(facts: Facts, policy: Policy) -> list[str]:
    odd = [f"conflict_{field}" for field in conflicting(facts.conflicts)] if facts.conflicts else []
    if facts.succeeded and _is_negative(facts, policy):
        odd.append("negative_base")
    amount, total = facts.amount, facts.total_amount
    if amount is not None and total is not None and total != amount - facts.discount:
        odd.append("inconsistent_total")
    return odd


def conflicting(conflicts: int) -> list[str]:
    """The names of the fields whose bits are set."""
    return [field for place, field in enumerate(FIELDS) if conflicts >> place & 1]


def _is_negative(facts: Facts, policy: Policy) -> bool:
    if (version := policy.version_at(facts.date)) is None:
        return False
    base = facts.base if version is policy.plain else base_of(version, facts)
    return base is not None and base < 0
