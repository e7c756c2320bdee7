"""Stores fetched batches, each in one transaction, and only as far as the guard allows."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

from consumer.asking import Asking
from consumer.batch import Batch
from consumer.drift import DriftWatch
from consumer.fetched import Fetched
from consumer.guard import Crossed, Guard, GuardLimits, Trial
from consumer.letters import sentence_of
from consumer.newcomers import Newcomers
from consumer.outline import Outlines
from consumer.waiting import Patience
from handlers.protocol import Handlers
from storage.database import Database, Transaction
from storage.handler_states import (
    DECODING,
    GUARD,
    HandlerState,
    Standing,
    handler_states,
    spend_allowance,
    stop_handler,
)
from storage.outlines import Outline

Admit = Callable[[Transaction, Mapping[str, HandlerState]], Awaitable[bool]]
"""Whether a batch may be stored at all, asked at the beginning of each try in its own transaction."""

Follows = Callable[[], Awaitable[bool]]
"""Whether there are more records to be settled right after a batch."""


async def nothing_follows() -> bool:
    return False


async def something_follows() -> bool:
    return True


class Stored(NamedTuple):
    """What came of a fetched batch."""

    fetched: Fetched
    """What is committed, of its beginning."""
    batch: Batch | None
    """None: nothing is."""
    rest: Fetched | None
    """Deaths at its end, to be judged together with what comes next."""
    halted: bool
    """The guard has stopped a handler. What was cut off is to be fetched again once it is resumed."""


class _Cut(Exception):
    """Roll back: only what comes before `index` may be stored as things are."""

    def __init__(self, index: int, halt: "_Halt | None") -> None:
        super().__init__(index)
        self.index = index
        self.halt = halt
        """None: these deaths are not too many, but perhaps the beginning of too many."""


class _Halt(NamedTuple):
    handler: str
    reason: str


class Settler:
    """Owns the guard's counts for what goes through it."""

    def __init__(
        self,
        database: Database,
        handlers: Handlers,
        group: str,
        topic: str,
        limits: GuardLimits,
        drift: DriftWatch,
        patience: Patience,
        newcomers: Callable[[], Newcomers],
        reader: str | None = None,
        at_work: Callable[[], None] = lambda: None,
        asking: Asking | None = None,
    ) -> None:
        """`group`: that of dead letters, and of the positions unless a `reader` moves its own. `newcomers`:
        who takes the new effects of a batch, asked for each try at one. `at_work` is called when the
        database is about to get most of a batch's work. `asking`: knows what was worked out ahead."""
        self._database = database
        self._handlers = handlers
        self._group = group
        self._topic = topic
        self._drift = drift
        self._patience = patience
        self._newcomers = newcomers
        self._reader = reader
        self._at_work = at_work
        self._asking = asking or Asking(handlers.effect)
        self._guard = Guard(limits)
        self._outlines = Outlines()

    async def settle(
        self,
        fetched: Fetched,
        admit: Admit,
        follows: Follows,
        abandoned: asyncio.Event,
    ) -> Stored | None:
        """Store a batch as far as may be. None: it was not admitted. Raises GivenUp once `abandoned` is set.

        Where deaths at its end might be the beginning of too many and more follows, they are left for the
        next batch; where nothing follows they are stored at once.
        """
        rest, halt, sure = None, None, False
        while True:
            store = partial(self._try, fetched, admit, halt, sure=sure)
            outcome = await self._patience.outlast("database", store, abandoned)
            if outcome is None:
                return None
            if isinstance(outcome, Batch):
                return Stored(fetched, outcome if fetched.items else None, rest, halt is not None)
            sure = True
            if outcome.halt is not None:
                fetched, rest, halt = fetched.before(outcome.index), None, halt or outcome.halt
            elif await follows():
                fetched, rest = fetched.before(outcome.index), fetched.after(outcome.index)
                if not fetched.items:
                    return Stored(fetched, None, rest, halted=False)

    async def _try(
        self, fetched: Fetched, admit: Admit, halt: _Halt | None, *, sure: bool
    ) -> Batch | _Cut | None:
        try:
            async with self._database.transaction() as transaction:
                states = await handler_states(transaction)
                if not await admit(transaction, states):
                    return None
                trial = self._guard.trial(states)
                batch = Batch(
                    fetched.items,
                    self._handlers,
                    self._group,
                    transaction,
                    self._newcomers(),
                    trial,
                    self._asking,
                )
                learned = await self._store(fetched, transaction, trial, batch)
                if halt is not None:
                    await stop_handler(transaction, halt.handler, Standing.HALTED, GUARD, halt.reason)
                elif trial.unbroken is not None and not sure:
                    raise _Cut(trial.unbroken, None)
        except Crossed as crossed:
            return _Cut(crossed.index, _halt(crossed, fetched))
        except _Cut as cut:
            return cut
        self._guard.accept(trial)
        self._outlines.accept(learned)
        self._drift.settled(fetched.items)
        return batch

    async def _store(
        self, fetched: Fetched, transaction: Transaction, trial: Trial, batch: Batch
    ) -> frozenset[Outline]:
        """Returns the outlines that were new."""
        if not fetched.items:
            return frozenset()
        reading = await self._outlines.read(transaction, fetched.items)
        trial.judge(DECODING, reading.indices, reading.deaths)
        await batch.settle(self._topic, fetched.next_offsets, self._reader, self._at_work)
        await self._drift.store(transaction, fetched.items)
        for handler, deaths in trial.spent.items():
            await spend_allowance(transaction, handler, deaths)
        return reading.learned


def _halt(crossed: Crossed, fetched: Fetched) -> _Halt:
    record, error = fetched.items[crossed.index].record, crossed.error
    told = f"the last of {type(error).__name__}: {sentence_of(error)}"
    where = f"from partition {record.partition} offset {record.offset} on"
    return _Halt(crossed.handler, f"{crossed.reason}, {where}, {told}")
