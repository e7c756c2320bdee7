"""The loyalty ledger as a handler: a batch of events becomes facts, and what their orders lack is posted."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from handlers.loyalty.fact_store import Learned, learn, with_parents
from handlers.loyalty.facts import Facts, Key, merge
from handlers.loyalty.oddities import oddities
from handlers.loyalty.policy import STANDARD, Policy
from handlers.loyalty.reading import read
from handlers.loyalty.settlement import Settled, foresee, settle_orders
from handlers.protocol import Skipped, Verdicts
from storage.database import Note, Oddity, Transaction
from storage.names import Names

S = TypeVar("S")
W = TypeVar("W")
ANONYMOUS = Skipped("anonymous")


class Loyalty:
    """Posts points. Locks facts, orders, balances, each in key order, so that workers never meet head-on."""

    name = "loyalty"
    kinds = frozenset({Kind.SUCCEEDED, Kind.ROLLED_BACK})
    keeps_marks = True
    keeps_ids_only = True

    def __init__(self, policy: Policy = STANDARD) -> None:
        self._policy = policy

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        """Returns the events refused, and the successes of orders found to be anonymous.

        A duplicate that tells nothing new writes nothing and counts as done.
        """
        await transaction.learn({event.tenant for event in events})
        told, refused = _read_all(events, transaction, self._policy)
        told = with_parents(told)
        foreseeing = foresee(told, transaction.names, self._policy)
        learned, foreseen = await _beside(learn(transaction, told), foreseeing)
        settled = await settle_orders(transaction, learned, self._policy, foreseen)
        transaction.notes.append(partial(_notes, settled, transaction.names))
        transaction.oddities += [Oddity(self.name, what) for what in oddities(learned, self._policy)]
        anonymous = _anonymous(learned, settled)
        if not anonymous:
            return refused
        return refused | {
            index: ANONYMOUS
            for index, event in enumerate(events)
            if index not in refused and event.kind is Kind.SUCCEEDED and _key(event, transaction) in anonymous
        }


async def _beside(statements: Awaitable[S], work: Coroutine[Any, Any, W]) -> tuple[S, W]:
    """Both at once: this thread computes while the database works."""
    computing = asyncio.ensure_future(work)
    try:
        return await statements, await computing
    finally:
        computing.cancel()


def _read_all(
    events: Sequence[RedemptionEvent], transaction: Transaction, policy: Policy
) -> tuple[dict[Key, Facts], dict[int, Refused | Skipped]]:
    """What the batch tells of each redemption, and which of its events cannot be used."""
    told: dict[Key, Facts] = {}
    refused: dict[int, Refused | Skipped] = {}
    for index, event in enumerate(events):
        try:
            facts = read(event, policy)
        except Refused as refusal:
            refused[index] = refusal
            continue
        key = _key(event, transaction)
        told[key] = merge(told[key], facts) if key in told else facts
    return told, refused


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
