"""Runs one handler over what the log holds of a time, beside the workers and outside their group.

Effects guard against doubles: what the handler has done is found to be there. A backfill that was broken off
goes on where it was, up to the ends it began with.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

import structlog
from msgspec.structs import replace

from broker.protocols import History, Record
from consumer.batch_room import BatchRoom
from consumer.fetched import Fetched
from consumer.item import ForOthers, Item, read_item
from consumer.settler import Follows, Settler, Stored, nothing_follows, something_follows
from consumer.waiting import GivenUp, Patience
from events.failures import Malformed
from storage.backfills import Stretch, begin_backfill, end_backfill, stretches
from storage.database import Database, Transaction
from storage.handler_states import HandlerState

log = structlog.get_logger(__name__)
T = TypeVar("T")

MAX_RECORDS = 2000


class BackfillConfig(NamedTuple):
    handler: str
    transactional: bool
    """An effect handler that stands still has its effects stored all the same: they wait."""
    reader: str
    """Under this name its progress is kept: one for each handler and time."""
    topic: str
    begin: int
    """Milliseconds; of each partition, from the first record of this time or later."""
    end: int | None
    """Up to the first record of this time or later; None: the end of the log as it is now."""


class Covered(NamedTuple):
    """How far a backfill is, in records."""

    done: int
    total: int


class Backfill:
    """One run of it."""

    def __init__(
        self,
        history: History,
        database: Database,
        settler: Settler,
        config: BackfillConfig,
        patience: Patience,
        stop: asyncio.Event,
    ) -> None:
        self._history = history
        self._database = database
        self._settler = settler
        self._config = config
        self._patience = patience
        self._stop = stop
        self._room = BatchRoom(MAX_RECORDS)
        self._stretches: dict[int, Stretch] = {}
        self.resumed = False
        """It goes on with one that was broken off."""
        self.log_begins: int | None = None
        """Milliseconds: earlier records were asked for than retention has left; None: all are there."""
        self.halted = False
        """The handler stands still."""

    async def begin(self) -> None:
        """Find out from where and how far it goes. Raises GivenUp, or Misconfigured."""
        self._stretches = await self._known()
        self.resumed = bool(self._stretches)
        if not self._stretches:
            await self._patience.outlast("log", self._measure, self._stop)
            self._stretches = await self._known()
        self.log_begins = await self._patience.outlast("log", self._missing_since, self._stop)

    @property
    def covered(self) -> Covered:
        stretches = self._stretches.values()
        return Covered(
            sum(each.next - each.first for each in stretches),
            sum(each.end - each.first for each in stretches),
        )

    async def run(self, told: Callable[[Stored], None]) -> bool:
        """Go over all of it; `told` of each batch that is stored. Returns whether it is complete: else it was
        stopped, or the handler stands still."""
        try:
            for partition in self._stretches:
                if not await self._over(partition, told):
                    return False
            await self._patience.outlast("database", self._end, self._stop)
        except GivenUp:
            return False
        return True

    async def _over(self, partition: int, told: Callable[[Stored], None]) -> bool:
        held: Fetched | None = None
        """Deaths at the end of the last batch, which the guard judges together with the next."""
        while (stretch := self._stretches[partition]).next < stretch.end:
            if self._stop.is_set():
                return False
            fetched, follows = await self._fetch(partition, stretch, held)
            if not fetched.items:
                # Retention has taken the rest, or the log's end is no record that anybody could read.
                self._stretches[partition] = stretch._replace(next=stretch.end)
                return True
            stored = await self._settler.settle(fetched, self._admit, follows, self._stop)
            if stored is None or stored.halted:
                self.halted = True
                return False
            held = stored.rest
            if stored.fetched.items:
                told(stored)
                self._stretches[partition] = stretch._replace(next=stored.fetched.next_offsets[partition])
        return True

    async def _fetch(self, partition: int, stretch: Stretch, held: Fetched | None) -> tuple[Fetched, Follows]:
        offset = stretch.next if held is None else held.next_offsets[partition]
        items: list[Item] = []
        self._room.begin()
        while offset < stretch.end and (most := self._room.next):
            read = partial(self._history.read, partition, offset, most)
            records = await self._patience.outlast("log", read, self._stop)
            self._room.took(records)
            items += [self._item(record) for record in records if record.offset < stretch.end]
            if len(records) < most:
                break
            offset = records[-1].next_offset
        end = items[-1].record.next_offset if items else stretch.end
        fetched = Fetched(0, 0, items, {partition: end})
        return (
            fetched if held is None else held.followed_by(fetched),
            something_follows if end < stretch.end else nothing_follows,
        )

    def _item(self, record: Record) -> Item:
        """Replays are passed over, being addressed to another group; so is what nobody can read: it has its
        letter, or had one."""
        item = read_item(record, self._config.reader)
        return replace(item, meaning=ForOthers("")) if isinstance(item.meaning, Malformed) else item

    async def _admit(self, transaction: Transaction, states: Mapping[str, HandlerState]) -> bool:
        state = states.get(self._config.handler)
        return not (self._config.transactional and state and state.stands)

    async def _known(self) -> dict[int, Stretch]:
        async def ask() -> dict[int, Stretch]:
            async with self._database.snapshot() as snapshot:
                return await stretches(snapshot, self._config.reader, self._config.topic)

        return await self._patience.outlast("database", ask, self._stop)

    async def _measure(self) -> None:
        bounds = await self._history.bounds()
        firsts = await self._history.offsets_at(self._config.begin)
        ends = {partition: bound.end for partition, bound in bounds.items()}
        if self._config.end is not None:
            ends |= await self._history.offsets_at(self._config.end)
        ranges = {
            partition: (min(firsts[partition], ends[partition]), min(ends[partition], bound.end))
            for partition, bound in bounds.items()
        }
        async with self._database.transaction() as transaction:
            await begin_backfill(transaction, self._config.reader, self._config.topic, ranges)

    async def _missing_since(self) -> int | None:
        """When the log begins, if that is later than the time asked for."""
        begins = []
        for partition, bound in (await self._history.bounds()).items():
            if bound.start == 0:
                continue  # nothing was ever deleted
            first = await self._history.read(partition, bound.start, 1)
            if first and first[0].timestamp > self._config.begin:
                begins.append(first[0].timestamp)
        return max(begins, default=None)

    async def _end(self) -> None:
        async with self._database.transaction() as transaction:
            await end_backfill(transaction, self._config.reader, self._config.topic)
