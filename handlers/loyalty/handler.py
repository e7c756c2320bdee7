"""The loyalty ledger as a handler: a batch of events becomes facts, and what their orders lack is posted."""

from collections.abc import Sequence
from functools import partial

from events.event import Kind, RedemptionEvent
from handlers.loyalty.fact_store import Learned, learn
from handlers.loyalty.facts import Key
from handlers.loyalty.oddities import oddities
from handlers.loyalty.plan import Plan, plan_of
from handlers.loyalty.policy import STANDARD, Policy
from handlers.loyalty.settlement import Settled, settle_orders
from handlers.protocol import Skipped, Verdicts
from storage.ahead import Ahead
from storage.database import Note, Oddity, Transaction
from storage.names import Names

ANONYMOUS = Skipped("anonymous")


class Loyalty:
    """Posts points. Locks facts, orders, balances, each in key order, so that workers never meet head-on."""

    name = "loyalty"
    kinds = frozenset({Kind.SUCCEEDED, Kind.ROLLED_BACK})
    keeps_marks = True
    keeps_ids_only = True

    def __init__(self, policy: Policy = STANDARD) -> None:
        self.policy = policy
        self._ahead: Ahead[Plan] = Ahead()

    async def prepare(self, events: Sequence[RedemptionEvent]) -> None:
        """Compute ahead what can be said of the events of a batch to come."""
        if names := self._ahead.names({event.tenant for event in events}):
            self._ahead.keep(events, names, await plan_of(events, names, self.policy))

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        """Returns the events refused, and the successes of orders found to be anonymous.

        A duplicate that tells nothing new writes nothing and counts as done.
        """
        await transaction.learn({event.tenant for event in events})
        plan = self._ahead.take(events, transaction.names)
        plan = plan or await plan_of(events, transaction.names, self.policy)
        learned = await learn(transaction, plan.told)
        settled = await settle_orders(transaction, learned, self.policy, plan.foreseen)
        transaction.notes.append(partial(_notes, settled, transaction.names))
        transaction.oddities += [Oddity(self.name, what) for what in oddities(learned, self.policy)]
        anonymous = _anonymous(learned, settled)
        if not anonymous:
            return plan.refused
        return plan.refused | {
            index: ANONYMOUS
            for index, event in enumerate(events)
            if index not in plan.refused
            and event.kind is Kind.SUCCEEDED
            and _key(event, transaction) in anonymous
        }


def _anonymous(learned: Learned, settled: Settled) -> set[Key]:
    """The redemptions whose points nobody is known to own."""
    anonymous = {order for order, posted in settled.orders.items() if posted.anonymous}
    if not anonymous:
        return set()
    return {
        key
        for key in learned.changed
        if (order := learned.after[key].order_key) and (key[0], order) in anonymous
    }


def _notes(settled: Settled, names: Names) -> list[Note]:
    return [
        Note(names.word(entry.tenant), entry.redemption_id, f"{entry.points:+d} points")
        for entry in settled.entries
        if entry.redemption_id is not None
    ]


def _key(event: RedemptionEvent, transaction: Transaction) -> Key:
    return transaction.names.id(event.tenant), event.redemption_id
