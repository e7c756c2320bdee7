"""Gives every newly held partition its place: where the database and the group say that reading goes on."""

import asyncio

import structlog

from broker.protocols import Consumer
from consumer.committer import OffsetCommitter
from consumer.placement import start_of
from consumer.places import Places
from consumer.progress import Progress
from events.failures import Misconfigured
from storage.database import Database
from storage.positions import positions, store_positions, went_back

log = structlog.get_logger(__name__)


class Placing:
    """Owns the partitions that are held and cannot be placed."""

    def __init__(
        self,
        consumer: Consumer,
        database: Database,
        group: str,
        topic: str,
        places: Places,
        committer: OffsetCommitter,
        progress: Progress,
    ) -> None:
        self._consumer = consumer
        self._database = database
        self._group = group
        self._topic = topic
        self._places = places
        self._committer = committer
        self._progress = progress
        self._halted: set[int] = set()
        self._look_again = False
        self.placed = asyncio.Event()
        """Partitions have come or gone."""

    def look_again(self) -> None:
        """Try to place what could not be: an operator may have mended it."""
        self._look_again = True

    async def place(self) -> None:
        """Before each fetch."""
        epoch, held, joined = self._consumer.assignment()
        if epoch != self._places.epoch:
            log.info("assigned", epoch=epoch, partitions=sorted(held))
            self._let_go(held)
            self._places.begin(epoch)
            self._look_again = True
        out = self._halted
        if self._look_again:
            await self._notice_older_database()
            self._look_again, out = False, set()
        if new := sorted(held - self._places.fetched.keys() - out):
            await self._place_new(epoch, new)
        # Only now, as reading the positions has shown that the database is there.
        self._progress.joined = joined

    async def _notice_older_database(self) -> None:
        """A restored one must not wait for traffic to catch up."""
        seen = dict(self._places.stored)  # before the snapshot, which must not be older than what we compare
        async with self._database.snapshot() as snapshot:
            older = await went_back(snapshot, self._group, self._topic, seen)
        if older:
            log.warning("database_went_back", positions=seen)
            self._places.lose()

    def _let_go(self, held: frozenset[int]) -> None:
        for partition in self._halted - held:
            self._progress.forget(name_of(partition))
        self._halted &= held
        self.placed.set()

    async def _place_new(self, epoch: int, new: list[int]) -> None:
        committed = await self._consumer.committed(new)
        bounds = await self._consumer.bounds(new)
        async with self._database.snapshot() as snapshot:
            stored = await positions(snapshot, self._group, self._topic)
        if self._consumer.assignment().epoch != epoch:
            return
        starts = {}
        for partition in new:
            try:
                starts[partition] = start_of(
                    stored.get(partition), committed.get(partition), bounds[partition]
                )
            except Misconfigured as lost:
                # It stays out, loudly, and the others go on.
                self._halted.add(partition)
                self._progress.trouble(name_of(partition), str(lost))
        await self._begin(
            {partition: start for partition, start in starts.items() if partition not in stored}
        )
        if self._consumer.assignment().epoch != epoch:
            return
        forgotten = {}
        for partition, start in starts.items():
            if committed.get(partition) is None and start == stored.get(partition):
                forgotten[partition] = start
            self._consumer.seek(partition, start)
            self._places.place(partition, start, stored.get(partition, start))
            self._halted.discard(partition)
            self._progress.clear(name_of(partition))
            self.placed.set()
        # The group was killed before its first commit, or the log let its offsets expire: without these
        # it would seem to lag by all that the partition holds until something new comes.
        self._committer.note(epoch, forgotten)

    async def _begin(self, starts: dict[int, int]) -> None:
        """Store where partitions begin that this group has not read before: if retention deletes what comes
        next before anybody has read it, the gap must show."""
        if not starts:
            return
        if late := {partition: start for partition, start in starts.items() if start}:
            log.info("partitions_begin_late", first_offsets=late)
        async with self._database.transaction() as transaction:
            await store_positions(transaction, self._group, self._topic, starts)


def name_of(partition: int) -> str:
    return f"partition {partition}"
