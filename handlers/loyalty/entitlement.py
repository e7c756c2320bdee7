"""What an order entitles to, as a function of the facts of its redemptions alone. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from handlers.loyalty import policy
from handlers.loyalty.facts import Facts


class Member(NamedTuple):
    """A redemption of an order."""

    facts: Facts
    parent_reversed: bool
    """Only a stack's parent can be rolled back: its children go with it."""

    @property
    def live(self) -> bool:
        return not (self.facts.reversed or self.parent_reversed)


class Entitlement(NamedTuple):
    """What is due for one order: `points` on the account of `customer_id`, because of `redemption_id`."""

    customer_id: str | None = None
    points: int = 0
    redemption_id: str | None = None
    """The deciding redemption; None when nothing counts, or all of it was reversed."""
    base: int | None = None
    discount: int = 0
    anonymous: bool = False
    """Something was redeemed that counts, and nobody is known to give the points to."""


def entitlement(members: Sequence[Member]) -> Entitlement:
    """What the order with these redemptions entitles to."""
    counting = [member for member in members if member.facts.counts]
    live = [member.facts for member in counting if member.live]
    # A reversal takes points away. It makes nobody known, so it leaves an anonymous order anonymous.
    heirs = live or [member.facts for member in counting]
    anonymous = bool(heirs) and not any(facts.customer_id for facts in heirs)
    if not live:
        return Entitlement(anonymous=anonymous)
    deciding = min(live, key=_precedence)
    account = deciding.customer_id or _first_account(live)
    return Entitlement(
        customer_id=account,
        points=policy.points(deciding) if account else 0,
        redemption_id=deciding.redemption_id,
        base=deciding.base,
        discount=deciding.discount,
        anonymous=anonymous,
    )


def _precedence(facts: Facts) -> tuple[int, bool, bool, int, str]:
    """Sorts the deciding redemption first.

    The amounts of a stack's children are a running state: the greatest discount comes with the final ones.
    """
    base = facts.base
    return (-facts.discount, not facts.is_stack_parent, base is None, base or 0, facts.redemption_id)


def _first_account(live: Sequence[Facts]) -> str | None:
    known = sorted((facts.redemption_id, facts.customer_id) for facts in live if facts.customer_id)
    return known[0][1] if known else None
