"""The worker: fetch, decode, settle in one transaction a batch, commit; and how it starts, drains, ends."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import structlog

from broker.protocols import Consumer
from consumer.asking import Asking
from consumer.committer import OffsetCommitter
from consumer.delivery import Delivery
from consumer.dependencies import Dependencies
from consumer.drift import DriftWatch
from consumer.fetched import Fetched
from consumer.guard import GUARDED, GuardLimits
from consumer.intake import Intake
from consumer.metrics import WorkerMetrics
from consumer.newcomers import Newcomers
from consumer.places import Places
from consumer.placing import Placing
from consumer.preparing import prepare
from consumer.progress import Progress
from consumer.reporter import Reporter
from consumer.settler import Follows, Settler, nothing_follows
from consumer.standstill import Standstill
from consumer.waiting import GivenUp, Patience
from consumer.watch import Watch
from events.runtime import Runtime
from handlers.protocol import Handlers
from storage.database import Database, Transaction
from storage.handler_states import HandlerState
from storage.positions import went_back

log = structlog.get_logger(__name__)


HOLD_SECONDS = 5.0
"""How long deaths at a batch's end wait for the next batch, which the log holds already."""
COMMIT_SHARE = 0.25
"""The part of the drain time that is kept for the last commit."""


class WorkerConfig(NamedTuple):
    group: str
    topic: str
    drain_seconds: float
    """From being told to stop until the last commit has ended."""
    max_records: int = 2000
    guard: GuardLimits = GUARDED


class Worker:
    """One member of the consumer group. Owns the assignment's life: nothing outlives its epoch."""

    def __init__(
        self,
        consumer: Consumer,
        database: Database,
        handlers: Handlers,
        deliveries: Sequence[Delivery],
        config: WorkerConfig,
        runtime: Runtime,
        progress: Progress,
        metrics: WorkerMetrics,
    ) -> None:
        self._consumer = consumer
        self._database = database
        self._handlers = handlers
        self._deliveries = {delivery.handler: delivery for delivery in deliveries}
        self._config = config
        self._places = Places()
        self._patience = patience = Patience(progress, runtime)
        self._committer = OffsetCommitter(consumer, patience)
        self._standstill = Standstill(database, handlers, progress, runtime, metrics)
        drift = DriftWatch(metrics, runtime)
        asking = Asking(handlers.effect, runtime)
        placing = Placing(
            consumer, database, config.group, config.topic, self._places, self._committer, progress
        )
        self._intake = Intake(
            consumer,
            config.group,
            config.max_records,
            self._places,
            placing,
            drift,
            self._standstill,
            patience,
            partial(prepare, handlers, asking),
        )
        self._settler = Settler(
            database,
            handlers,
            config.group,
            config.topic,
            config.guard,
            drift,
            patience,
            self._newcomers,
            at_work=self._intake.go_on,
            asking=asking,
        )
        self._watch = Watch(consumer, self._intake, placing, self._places, progress, patience, metrics)
        self._reporter = Reporter(handlers, metrics, runtime)
        self._runtime = runtime
        self._dependencies = Dependencies()
        self._offered: Newcomers | None = None
        """Those of the last try at a batch, until it is known to be stored."""
        self._all_settled = asyncio.Event()
        """No batch hands anything over to the deliveries any more."""
        self._held: Fetched | None = None
        """Deaths at the end of the last batch, which the guard judges together with the next."""
        self._released = 0
        """Batches of this epoch and earlier are not begun any more."""
        self._abandoned = asyncio.Event()
        """Set when the batch in hand is not to be tried again."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._deadline: float | None = None
        """When all must have ended, by the loop's clock; None: not stopping."""

    async def join(self) -> None:
        """Join the consumer group. Raises Unavailable or Misconfigured; may be tried again."""
        await self._consumer.start(self._release)

    async def run(self, stop: asyncio.Event) -> None:
        """Having joined, work until `stop`, then drain within the configured time and leave."""
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(self._committer.run(), name="commit"),
                    tasks.create_task(self._watch.run(), name="watch"),
                    tasks.create_task(self._standstill.look_regularly(), name="handler states"),
                ]
                work = [
                    tasks.create_task(self._intake.fetch_until(stop), name="fetch"),
                    tasks.create_task(self._settle_all(), name="settle"),
                ]
                work += [
                    tasks.create_task(delivery.run(stop, self._all_settled), name=f"deliver {name}")
                    for name, delivery in self._deliveries.items()
                ]
                await stop.wait()
                await self._drain(work)
                for task in beside:
                    task.cancel()
        finally:
            await self._consumer.stop()

    async def _drain(self, work: list[asyncio.Task[None]]) -> None:
        """Let what was begun end; what is not done in time is left to whoever comes next."""
        seconds = self._config.drain_seconds
        log.info("draining", seconds=seconds)
        self._deadline = asyncio.get_running_loop().time() + seconds
        _, late = await asyncio.wait(work, timeout=seconds * (1 - COMMIT_SHARE))
        for task in late:
            log.warning("drain_deadline_passed", task=task.get_name())
            task.cancel()

    async def _settle_all(self) -> None:
        while (next_ := await self._next()) is not None:
            fetched, follows = next_
            if fetched.epoch <= self._released:
                continue
            self._idle.clear()
            try:
                await self._settle(fetched, follows)
            except GivenUp:
                log.info("batch_released", records=len(fetched.items))
            finally:
                self._idle.set()
        self._all_settled.set()

    def _newcomers(self) -> Newcomers:
        rooms = {name: delivery.room() for name, delivery in self._deliveries.items()}
        self._offered = Newcomers(rooms, self._runtime.token(), self._dependencies, self._offered)
        return self._offered

    async def _next(self) -> tuple[Fetched, Follows] | None:
        """The next batch, behind what was held, and how to find out whether more follows; None when the
        intake has ended: what is held comes again."""
        held, self._held = self._held, None
        try:
            async with asyncio.timeout(None if held is None else HOLD_SECONDS):
                fetched = await self._intake.next()
        except TimeoutError:
            assert held is not None
            return held, nothing_follows  # whatever the log says that it holds: a letter waits no longer
        if fetched is None:
            return None
        if held is not None and (held.epoch, held.life) == (fetched.epoch, fetched.life):
            fetched = held.followed_by(fetched)  # else the places were lost: what is held is fetched again
        return fetched, self._intake.more_follows

    async def _settle(self, fetched: Fetched, follows: Follows) -> None:
        began = self._reporter.begin()
        self._abandoned.clear()
        stored = await self._settler.settle(fetched, partial(self._admit, fetched), follows, self._abandoned)
        if stored is None:
            return
        self._held = stored.rest
        self._offered = None
        if (batch := stored.batch) is not None:
            done = stored.fetched
            self._committer.note(done.epoch, done.next_offsets)
            self._places.note_settled(done.epoch, done.life, done.next_offsets)
            for name, taken in batch.taken.items():
                self._deliveries[name].take(taken, began)
            for name, delivery in self._deliveries.items():
                if name in batch.pending:
                    delivery.wake()
            self._reporter.settled(done.items, batch, began)
        if stored.halted:
            self._places.lose()  # what was cut off is fetched again once the handler is resumed

    async def _admit(
        self, fetched: Fetched, transaction: Transaction, states: Mapping[str, HandlerState]
    ) -> bool:
        """False: not to be stored, as the places it was fetched from do not hold any more."""
        group, topic = self._config.group, self._config.topic
        seen = dict(self._places.stored)  # before the statement: it may grow meanwhile
        if await went_back(transaction, group, topic, seen):
            # A backup was restored. Storing this batch would move the positions over all that the
            # backup lacks, and nobody would ever fetch it again.
            log.warning("database_went_back", positions=seen)
            self._places.lose()
        elif self._standstill.holds_up(states):
            self._places.lose()
        return fetched.life == self._places.life

    async def _release(self) -> None:
        """Before partitions go: let the running batch end and commit it, within the drain deadline.

        Must not await the fetching task: the client waits for us inside its fetch.
        """
        self._released = self._consumer.assignment().epoch
        end = asyncio.get_running_loop().time() + self._config.drain_seconds
        try:
            async with asyncio.timeout_at(end if self._deadline is None else self._deadline):
                await self._idle.wait()
                await self._committer.flush()
        except Exception as error:
            # What is still running may commit to the database, which harms nothing: effects are unique
            # and positions only move forward. It is not tried again.
            self._abandoned.set()
            log.warning("released_undrained", reason=type(error).__name__)
