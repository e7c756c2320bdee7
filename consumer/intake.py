"""Fetches and decodes the next batch while the database works on this one, and watches that records arrive."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from broker.protocols import Consumer
from consumer.item import Item, read_item
from consumer.placement import start_of
from consumer.progress import Progress
from consumer.waiting import Patience
from events.failures import Misconfigured
from events.runtime import Runtime
from storage.database import Database
from storage.positions import positions

log = structlog.get_logger(__name__)

FETCH_SECONDS = 0.5
WATCH_SECONDS = 10.0


class Fetched(NamedTuple):
    """A decoded batch and the assignment it belongs to."""

    epoch: int
    items: Sequence[Item]
    next_offsets: dict[int, int]


class Intake:
    """Owns the places of the held partitions and the one batch that waits to be settled."""

    def __init__(
        self,
        consumer: Consumer,
        database: Database,
        group: str,
        topic: str,
        max_records: int,
        progress: Progress,
        runtime: Runtime,
    ) -> None:
        self._consumer = consumer
        self._database = database
        self._group = group
        self._topic = topic
        self._max_records = max_records
        self._progress = progress
        self._patience = Patience(progress, runtime)
        self._queue: asyncio.Queue[Fetched | None] = asyncio.Queue(maxsize=1)
        self._epoch = 0
        self._seen: dict[int, int] = {}
        """Placed partitions, with the next offset to arrive."""
        self._halted: set[int] = set()
        """Held partitions that cannot be placed."""
        self.lag: dict[int, int] = {}
        """Records in the log not yet fetched, by held partition, as last looked at."""

    async def fetch_until(self, stop: asyncio.Event) -> None:
        """Fetch until `stop`; then `next` gives None after what is there."""
        while not stop.is_set():
            try:
                fetched = await self._patience.outlast("intake", self._fetch, stop.is_set)
            except Exception as error:
                log.info("stopped_while_waiting", reason=str(error))
                break
            if fetched.items:
                await self._queue.put(fetched)
        await self._queue.put(None)

    async def next(self) -> Fetched | None:
        """The next batch; None when the intake has ended."""
        return await self._queue.get()

    async def discard(self) -> None:
        """Take what nobody will settle any more, so that fetching can end by itself: cancelling a fetch
        would leave the client unable to notice that it no longer polls."""
        while await self._queue.get() is not None:
            pass

    async def watch(self) -> None:
        """Look at the log's ends now and then: for the lag, and whether what is there arrives. Until cancelled."""
        before: dict[int, int] = {}
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            bounds = await self._patience.outlast("log", lambda: self._consumer.bounds(sorted(self._seen)))
            self.lag = {p: bounds[p].end - seen for p, seen in self._seen.items() if p in bounds}
            for partition, lag in self.lag.items():
                waits = lag > 0 and self._queue.empty() and before.get(partition) == self._seen.get(partition)
                (self._progress.stalled if waits else self._progress.moved)(f"partition {partition}")
            before = dict(self._seen)
            self._halted.clear()  # to be looked at again: an operator may have mended them

    async def _fetch(self) -> Fetched:
        await self._place()
        try:
            epoch, records = await self._consumer.fetch(self._max_records, FETCH_SECONDS)
        except Misconfigured:
            self._seen.clear()  # one partition's place is no more: place all anew, which says which
            raise
        items = [read_item(record, self._group) for record in records]
        next_offsets = {record.partition: record.next_offset for record in records}
        if epoch == self._epoch:
            self._seen.update(next_offsets)
        return Fetched(epoch, items, next_offsets)

    async def _place(self) -> None:
        """Give every newly held partition its place; one whose place is lost stays out, loudly."""
        epoch, held = self._consumer.assignment()
        if epoch != self._epoch:
            log.info("assigned", epoch=epoch, partitions=sorted(held))
            for partition in (self._seen.keys() | self._halted) - held:
                self._progress.moved(f"partition {partition}")
                self._progress.clear(f"partition {partition}")
            self._epoch, self._seen = epoch, {}
            self._halted.clear()
        self._progress.joined = epoch > 0
        new = sorted(held - self._seen.keys() - self._halted)
        if not new:
            return
        committed = await self._consumer.committed(new)
        bounds = await self._consumer.bounds(new)
        async with self._database.snapshot() as snapshot:
            stored = await positions(snapshot, self._group, self._topic)
        if self._consumer.assignment().epoch != epoch:
            return
        for partition in new:
            name = f"partition {partition}"
            try:
                start = start_of(stored.get(partition), committed.get(partition), bounds[partition])
            except Misconfigured as lost:
                self._halted.add(partition)
                self._progress.trouble(name, str(lost))
                continue
            self._consumer.seek(partition, start)
            self._seen[partition] = start
            self._progress.clear(name)
