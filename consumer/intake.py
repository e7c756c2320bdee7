"""Fetches and decodes the next batch while this one is settled."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from broker.protocols import Consumer, Record
from consumer.batch_room import BatchRoom
from consumer.drift import DriftWatch
from consumer.fetched import Fetched, next_offsets_of
from consumer.item import Item
from consumer.places import Places
from consumer.placing import Placing
from consumer.standstill import Standstill
from consumer.waiting import GivenUp, Patience, set_within
from events.failures import Failure, Misconfigured, Unavailable

FETCH_SECONDS = 0.5
AT_A_STRETCH = 50
"""Records decoded without letting go of the loop: the database may have answered meanwhile, and then waits
for us."""
SMALL = 200
"""Records. A batch of fewer is not worked on ahead, but takes along what has come when its turn comes."""
STANDING_SECONDS = 0.5
"""How often an intake that stands still looks whether it is to go on."""


Prepare = Callable[[Sequence[Item]], Awaitable[None]]


class Intake:
    """Owns the one batch that waits to be settled."""

    def __init__(
        self,
        consumer: Consumer,
        group: str,
        max_records: int,
        places: Places,
        placing: Placing,
        drift: DriftWatch,
        standstill: Standstill,
        patience: Patience,
        prepare: Prepare,
    ) -> None:
        """`prepare`: computes ahead what it can of a batch to come."""
        self._consumer = consumer
        self._group = group
        self._places = places
        self._placing = placing
        self._drift = drift
        self._standstill = standstill
        self._patience = patience
        self._prepare = prepare
        self._room = BatchRoom(max_records)
        self._queue: asyncio.Queue[Fetched | None] = asyncio.Queue(maxsize=1)
        self._wanted = asyncio.Event()
        """Another batch, now that the database works on the last one."""
        self._fetching = asyncio.Lock()
        """Held while records are taken from the log, and until their batch waits."""

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

    async def _fetch(self) -> Fetched | None:
        """None: whatever was fetched could not be stored, as a handler stands still."""
        await self._placing.place()
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
        next_offsets = next_offsets_of(items)
        self._places.note_fetched(epoch, life, next_offsets)
        return Fetched(epoch, life, items, next_offsets)

    async def _take(self, items: list[Item], timeout: float) -> tuple[int, bool]:  # noqa: ASYNC109
        """Add what the log gives at once, decoded. Returns the epoch, and whether more may come and fit."""
        most = self._room.next
        epoch, records = await unbroken_fetch(self._consumer, most, timeout)
        self._room.took(records)
        for begin in range(0, len(records), AT_A_STRETCH):
            items += self._drift.read(records[begin : begin + AT_A_STRETCH], self._group)
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
        added = Fetched(epoch, fetched.life, more, next_offsets_of(more))
        self._places.note_fetched(epoch, fetched.life, added.next_offsets)
        return fetched.followed_by(added)


def _is_small(items: Sequence[Item]) -> bool:
    return len(items) < SMALL


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
