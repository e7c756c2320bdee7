"""A stage: a new SQLite database with the worker's own batch and delivery on it, and a clock that obeys."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry

from broker.protocols import Record
from consumer.batch import Batch
from consumer.delivery import LEASE_SECONDS, Delivery
from consumer.item import Item, read_item
from consumer.metrics import WorkerMetrics
from consumer.newcomers import Newcomers
from consumer.progress import Progress
from consumer.waiting import set_within
from consumer.work import EventWork
from events.failures import Unavailable
from events.runtime import SystemRuntime
from handlers.protocol import EffectHandler, Handlers
from handlers.testing.findings import Broken, Outcomes
from storage.connect import connect
from storage.database import Database
from storage.schema import KINDS, LETTER_KIND, State, metadata

GROUP, TOPIC = "testing", "testing.events"
LOOK_SECONDS = 0.005
STEP_SECONDS = 5.0
"""Of the stage's time: what a worker waits for beside due times passes, however long it is."""
LONGEST_SECONDS = 60.0
"""Of real time, for one run: events that do not settle are a finding, not a hanging test."""
TRIES = 5


class Clock(SystemRuntime):
    """The machine's clock, set ahead at will: nobody waits for a lease to expire or a retry to fall due."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def random(self) -> float:
        return 0.5


class Stage:
    """One run's worker. Not the loop that fetches: what it would fetch is given to it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock
        self._offset = 0

    async def take_in(
        self, handlers: Handlers, bodies: Sequence[bytes], undone: Handlers | None = None
    ) -> None:
        """Settle a batch as the worker does. `undone`: these settled it before, and were rolled back."""
        records = [
            Record(TOPIC, 0, self._offset + place, int(self._clock.now() * 1000), None, body, ())
            for place, body in enumerate(bodies)
        ]
        items = [read_item(record, GROUP) for record in records]
        self._offset += len(items)
        if undone:
            with suppress(Unavailable):
                await self._settle(
                    items, undone, Unavailable("testing", "the harness took the database away")
                )
        for _ in range(TRIES):
            with suppress(Unavailable):
                return await self._settle(items, handlers)
        raise Broken(f"the handler says that it waits for the database, {TRIES} times: nothing is away")

    async def _settle(self, items: list[Item], handlers: Handlers, end: Unavailable | None = None) -> None:
        try:
            async with self.database.transaction() as transaction:
                newcomers = Newcomers({}, self._clock.token())
                batch = Batch(items, handlers, GROUP, transaction, newcomers)
                await batch.settle(TOPIC, {0: self._offset})
                if end:
                    raise end
        except Unavailable:
            raise
        except Exception as error:
            raise Broken(f"the batch cannot be stored: {error!r}") from error

    async def deliver(self, handler: EffectHandler, killed: asyncio.Event | None = None) -> None:
        """Run pending effects until none is left, or the worker is `killed`: its leases then run out."""
        killed = killed or asyncio.Event()
        stop = asyncio.Event()
        metrics = WorkerMetrics(CollectorRegistry())
        progress = Progress(self._clock)
        delivery = Delivery(EventWork(handler, GROUP), self.database, self._clock, progress, metrics)
        running = asyncio.create_task(delivery.run(stop))
        try:
            await self._until_settled(delivery, running, killed)
        finally:
            if killed.is_set():
                await self._kill(running)
            stop.set()
            await asyncio.wait([running])
        if not running.cancelled():
            running.result()

    async def _kill(self, running: asyncio.Task[None]) -> None:
        """Not inside a transaction of its own: the lock on the file, which dies with a real process, would
        outlast a task for seconds."""
        async with self.database.transaction():
            running.cancel()
            await asyncio.wait([running])
        self._clock.ahead += 2 * LEASE_SECONDS

    async def _until_settled(
        self, delivery: Delivery, running: asyncio.Task[None], killed: asyncio.Event
    ) -> None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                while (
                    not killed.is_set()
                    and not running.done()
                    and (wait := await self._next_wait()) is not None
                ):
                    self._clock.ahead += wait
                    delivery.wake()
                    await set_within(killed, LOOK_SECONDS)
        except TimeoutError:
            raise Broken(f"effects are still pending after {LONGEST_SECONDS:.0f} s") from None

    async def _next_wait(self) -> float | None:
        """Seconds to set the clock ahead, 0 while something runs; None: nothing is pending."""
        async with self.database.snapshot() as snapshot:
            row = (
                await snapshot.run(
                    "SELECT count(*) AS pending, min(due_at) - {now} AS wait, "
                    "max(coalesce(leased_until, 0) > {now}) AS leased FROM effects "
                    "WHERE state = :pending AND kind <> :letter",
                    pending=int(State.PENDING),
                    letter=LETTER_KIND,
                )
            )[0]
        if not row.pending:
            return None
        return 0.0 if row.leased else max(row.wait / 1000, STEP_SECONDS)

    async def outcomes(self, handler: str) -> Outcomes:
        async with self.database.snapshot() as snapshot:
            rows = await snapshot.run(
                "SELECT e.redemption_id, e.kind, e.state, e.last_error FROM effects e "
                "JOIN names n ON n.id = e.handler WHERE n.name = :handler",
                handler=handler,
            )
        return {
            (row.redemption_id, KINDS[row.kind]): (State(row.state).name.lower(), row.last_error)
            for row in rows
        }


@asynccontextmanager
async def opened() -> AsyncIterator[Stage]:
    """An empty stage, gone with all that happened on it."""
    clock = Clock()
    with TemporaryDirectory(prefix="redemptions-testing-") as directory:
        database = connect(f"sqlite:///{Path(directory) / 'store.db'}", clock)
        try:
            async with database.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            yield Stage(database, clock)
        finally:
            await database.close()
