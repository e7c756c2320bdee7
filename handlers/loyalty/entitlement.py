"""What an order entitles to, as a function of the facts of its redemptions and the policy alone. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from handlers.loyalty.facts import Facts
from handlers.loyalty.policy import LARGEST, Policy, Version
from handlers.loyalty.reckoning import Earning, Reckoning, excluded, reckon
from handlers.loyalty.sharing import Share, main_account, shares_of


class Member(Struct, frozen=True, gc=False):
    """A redemption of an order."""

    facts: Facts
    parent_reversed: bool
    """Only a stack's parent can be rolled back: its children go with it."""

    @property
    def live(self) -> bool:
        return not (self.facts.reversed or self.parent_reversed)


class Entitlement(Struct, frozen=True, gc=False):
    """What is due for one order: `points` on the account of `customer_id`, because of `redemption_id`."""

    customer_id: str | None = None
    points: int = 0
    redemption_id: str | None = None
    """The deciding redemption; None when nothing counts, or all of it was reversed."""
    anonymous: bool = False
    """Something was redeemed that counts, and nobody is known to give the points to."""
    others: tuple[Share, ...] = ()
    """What is due on further accounts, by account."""
    deciding: Facts | None = None
    reckoning: Reckoning | None = None
    """How the points come about."""

    @property
    def accounts(self) -> dict[str, int]:
        """Points by account, none without."""
        accounts = dict(self.others) if self.others else {}
        if self.customer_id is not None and self.points:
            accounts[self.customer_id] = self.points
        return accounts


NOTHING_DUE = Entitlement()


def entitlement(members: Sequence[Member], policy: Policy) -> Entitlement:
    """What the order with these redemptions entitles to."""
    if len(members) == 1 and policy.plain is not None:
        return _plain(members[0], policy.plain)
    return general(members, policy)


def general(members: Sequence[Member], policy: Policy) -> Entitlement:
    """The same for any number of redemptions under any policy."""
    counting = [member for member in members if member.facts.counts and not excluded(member.facts, policy)]
    live = [member.facts for member in counting if member.live]
    # A reversal takes points away. It makes nobody known, so it leaves an anonymous order anonymous.
    heirs = live or [member.facts for member in counting]
    if not heirs:
        return NOTHING_DUE
    deciding = min(heirs, key=precedence)
    account = main_account(policy.version_at(deciding.date), deciding, heirs)
    if not live:
        return Entitlement(anonymous=account is None)
    reckoning = reckon(deciding, live, policy)
    shares = shares_of(reckoning, deciding, live)
    return Entitlement(
        customer_id=account,
        points=sum(share.points for share in shares if share.customer_id == account),
        redemption_id=deciding.redemption_id,
        anonymous=account is None,
        others=tuple(share for share in shares if share.customer_id != account and share.points),
        deciding=deciding,
        reckoning=reckoning,
    )


def _plain(member: Member, version: Version) -> Entitlement:
    """Of the commonest order by far, at a tenth of the price; a test holds it against `general`."""
    facts = member.facts
    if not facts.counts:
        return NOTHING_DUE
    account = facts.customer_id
    if not member.live:
        return Entitlement(anonymous=account is None)
    points = _whole_steps(facts, version)
    given = 0 if account is None else min(points, LARGEST)
    reckoning = Reckoning(version, facts.base, 0, False, points, None, points, (Earning(facts, points),))
    return Entitlement(account, given, facts.redemption_id, account is None, (), facts, reckoning)


def plain_points(facts: Facts, version: Version) -> int:
    """What a live redemption earns alone, by a policy's `plain` version."""
    return min(_whole_steps(facts, version), LARGEST)


def _whole_steps(facts: Facts, version: Version) -> int:
    base = facts.base
    return base // version.every * version.points if base is not None and base > 0 else 0


def precedence(facts: Facts) -> tuple[int, bool, bool, int, str]:
    """Sorts the deciding redemption first.

    The amounts of a stack's children are a running state: the greatest discount comes with the final ones.
    """
    base = facts.base
    return (-facts.discount, not facts.is_stack_parent, base is None, base or 0, facts.redemption_id)
