"""What a policy would give for events, without a database."""

from collections.abc import Iterable
from typing import NamedTuple

from events.event import RedemptionEvent
from handlers.loyalty.entitlement import Entitlement, Member, entitlement
from handlers.loyalty.facts import Facts, merge
from handlers.loyalty.policy import Policy
from handlers.loyalty.reading import read


class Forecast(NamedTuple):
    members: dict[str, list[Member]]
    """By order."""
    due: dict[str, Entitlement]

    def balances(self) -> dict[str, int]:
        """Points by customer."""
        balances: dict[str, int] = {}
        for due in self.due.values():
            shares = [*due.others, *([(due.customer_id, due.points)] if due.customer_id else [])]
            for account, points in shares:
                balances[account] = balances.get(account, 0) + points
        return dict(sorted(balances.items()))


class Told:
    """Facts as events tell them, one after the other."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._facts: dict[str, Facts] = {}

    def tell(self, event: RedemptionEvent) -> None:
        """Raises Refused."""
        facts = read(event, self._policy)
        known = self._facts.get(event.redemption_id)
        self._facts[event.redemption_id] = facts if known is None else merge(known, facts)

    def forecast(self) -> Forecast:
        members = _by_order(self._facts.values(), self._facts)
        return Forecast(
            members, {order: entitlement(those, self._policy) for order, those in members.items()}
        )


def _by_order(facts: Iterable[Facts], known: dict[str, Facts]) -> dict[str, list[Member]]:
    members: dict[str, list[Member]] = {}
    for each in sorted(facts, key=lambda each: each.redemption_id):
        if each.order_key is not None:
            parent = known.get(each.parent_id) if each.parent_id else None
            member = Member(each, parent is not None and parent.reversed)
            members.setdefault(each.order_key, []).append(member)
    return dict(sorted(members.items()))
