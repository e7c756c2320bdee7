"""Places the held partitions, fetches from them, and decodes the next batch while this one is settled."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Self

import structlog

from broker.protocols import Consumer, Record
from consumer.batch_room import BatchRoom
from consumer.committer import OffsetCommitter
from consumer.drift import DriftWatch
from consumer.item import Item
from consumer.placement import start_of
from consumer.places import Places
from consumer.progress import Progress
from consumer.standstill import Standstill
from consumer.waiting import GivenUp, Patience, set_within
from events.failures import Failure, Misconfigured, Unavailable
from storage.database import Database
from storage.positions import positions, store_positions, went_back

log = structlog.get_logger(__name__)

FETCH_SECONDS = 0.5
AT_A_STRETCH = 50
"""Records decoded without letting go of the loop: the database may have answered meanwhile, and then waits
for us."""
SMALL = 200
"""Records. A batch of fewer is not worked on ahead, but takes along what has come when its turn comes."""
STANDING_SECONDS = 0.5
"""How often an intake that stands still looks whether it is to go on."""


Prepare = Callable[[Sequence[Item]], Awaitable[None]]


class IntakeConfig(NamedTuple):
    group: str
    topic: str
    max_records: int


class Fetched(NamedTuple):
    """A decoded batch, and the assignment and the places it belongs to."""

    epoch: int
    life: int
    items: Sequence[Item]
    next_offsets: dict[int, int]

    def before(self, index: int) -> Self:
        """Its first `index` records alone."""
        return self._of(self.items[:index])

    def after(self, index: int) -> Self:
        """All but its first `index` records."""
        return self._of(self.items[index:])

    def followed_by(self, other: Self) -> Self:
        """Both as one batch."""
        return self._of([*self.items, *other.items])

    def _of(self, items: Sequence[Item]) -> Self:
        return self._replace(items=items, next_offsets=_next_offsets(items))


class Intake:
    """Owns the one batch that waits to be settled, and the partitions that cannot be placed."""

    def __init__(
        self,
        consumer: Consumer,
        database: Database,
        config: IntakeConfig,
        places: Places,
        committer: OffsetCommitter,
        drift: DriftWatch,
        standstill: Standstill,
        progress: Progress,
        patience: Patience,
        prepare: Prepare,
    ) -> None:
        """`prepare`: computes ahead what it can of a batch to come."""
        self._consumer = consumer
        self._database = database
        self._config = config
        self._places = places
        self._committer = committer
        self._drift = drift
        self._standstill = standstill
        self._progress = progress
        self._patience = patience
        self._prepare = prepare
        self._room = BatchRoom(config.max_records)
        self._queue: asyncio.Queue[Fetched | None] = asyncio.Queue(maxsize=1)
        self._wanted = asyncio.Event()
        """Another batch, now that the database works on the last one."""
        self._fetching = asyncio.Lock()
        """Held while records are taken from the log, and until their batch waits."""
        self._halted: set[int] = set()
        """Held partitions that could not be placed."""
        self._look_again = False
        self.placed = asyncio.Event()
        """Partitions have come or gone."""

    @property
    def idle(self) -> bool:
        """Whether everything fetched has been taken to be settled."""
        return self._queue.empty()

    @property
    def waits(self) -> bool:
        """Whether it fetches nothing, and we know why."""
        return not self.idle or not self._wanted.is_set() or self._standstill.intake

    async def more_follows(self) -> bool:
        """Whether the log holds more than what was taken to be settled; False also when it does not say."""
        if not self.idle:
            return True
        places = dict(self._places.fetched)
        try:
            bounds = await self._consumer.bounds(places) if places else {}
        except Failure:
            return False
        return any(bound.end > places[partition] for partition, bound in bounds.items())

    async def fetch_until(self, stop: asyncio.Event) -> None:
        """Fetch until `stop`; then `next` gives None after what is there."""
        while not stop.is_set():
            await self._wanted.wait()
            async with self._fetching:
                try:
                    fetched = await self._patience.outlast("intake", self._fetch, stop)
                except GivenUp:
                    break
                if fetched and fetched.items:
                    self._wanted.clear()
                    await self._queue.put(fetched)
            if fetched is None:
                await set_within(stop, STANDING_SECONDS)
        await self._queue.put(None)

    async def next(self) -> Fetched | None:
        """The next batch, with what has come since it was fetched; None when the intake has ended."""
        if self.idle:
            self.go_on()
        fetched = await self._queue.get()
        return await self._topped_up(fetched) if fetched and _is_small(fetched.items) else fetched

    def go_on(self) -> None:
        """Fetch and decode the next batch: the last one keeps the database busy for a while. Earlier it would
        only keep us from giving the database its work."""
        self._wanted.set()

    def look_again(self) -> None:
        """Try to place what could not be: an operator may have mended it."""
        self._look_again = True

    async def _fetch(self) -> Fetched | None:
        """None: whatever was fetched could not be stored, as a handler stands still."""
        await self._place()
        if self._standstill.intake:
            return None
        life = self._places.life
        items: list[Item] = []
        self._drift.begin()
        self._room.begin()
        try:
            epoch, more = await self._take(items, FETCH_SECONDS)
            while more:
                _, more = await self._take(items, 0.0)
            if not _is_small(items):
                await self._prepare(items)
        except BaseException as error:
            # What was taken before is fetched again. Or one partition's place is no more: placing all anew
            # says which.
            if items or isinstance(error, Misconfigured):
                self._places.lose()
            raise
        next_offsets = _next_offsets(items)
        self._places.note_fetched(epoch, life, next_offsets)
        return Fetched(epoch, life, items, next_offsets)

    async def _take(self, items: list[Item], timeout: float) -> tuple[int, bool]:  # noqa: ASYNC109
        """Add what the log gives at once, decoded. Returns the epoch, and whether more may come and fit."""
        most = self._room.next
        epoch, records = await unbroken_fetch(self._consumer, most, timeout)
        self._room.took(records)
        for begin in range(0, len(records), AT_A_STRETCH):
            items += self._drift.read(records[begin : begin + AT_A_STRETCH], self._config.group)
            await asyncio.sleep(0)
        return epoch, len(records) == most and self._room.next > 0

    async def _topped_up(self, fetched: Fetched) -> Fetched:
        """With what came while it waited, which would else wait for all of it as well.

        What goes wrong here meets the next fetch as well, where it is waited out.
        """
        # While a batch behind this one is being fetched, or waits, what comes is behind that one.
        if self._fetching.locked() or fetched.life != self._places.life or not self._room.next:
            return fetched
        more: list[Item] = []
        async with self._fetching:
            try:
                epoch, _ = await self._take(more, 0.0)
            except Unavailable:
                return fetched  # nothing was taken
            except BaseException as error:
                self._places.lose()  # whatever was taken, and this batch, is fetched again
                if not isinstance(error, Exception):
                    raise
                return fetched
        if not more:
            return fetched
        added = Fetched(epoch, fetched.life, more, _next_offsets(more))
        self._places.note_fetched(epoch, fetched.life, added.next_offsets)
        return fetched.followed_by(added)

    async def _place(self) -> None:
        """Give every newly held partition its place."""
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
            older = await went_back(snapshot, self._config.group, self._config.topic, seen)
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
            stored = await positions(snapshot, self._config.group, self._config.topic)
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
            await store_positions(transaction, self._config.group, self._config.topic, starts)


def _next_offsets(items: Sequence[Item]) -> dict[int, int]:
    return {item.record.partition: item.record.next_offset for item in items}


def _is_small(items: Sequence[Item]) -> bool:
    return len(items) < SMALL


def name_of(partition: int) -> str:
    return f"partition {partition}"


async def unbroken_fetch(
    consumer: Consumer,
    max_records: int,
    timeout: float,  # noqa: ASYNC109
) -> tuple[int, list[Record]]:
    """A fetch that ends by itself even when we are cancelled: a client whose fetch is cancelled may not
    notice any more that nobody polls."""
    fetch = asyncio.ensure_future(consumer.fetch(max_records, timeout))
    try:
        return await asyncio.shield(fetch)
    except asyncio.CancelledError:
        await asyncio.wait([fetch])
        raise
