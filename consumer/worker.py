"""The worker: fetch, decode, settle in one transaction a batch, commit; and how it starts, drains and ends."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from broker.protocols import Consumer
from consumer.batch import Batch
from consumer.committer import OffsetCommitter
from consumer.delivery import Delivery
from consumer.intake import Fetched, Intake
from consumer.metrics import WorkerMetrics
from consumer.progress import Progress
from consumer.reporter import Reporter
from consumer.waiting import Patience
from events.runtime import Runtime
from handlers.protocol import Handlers
from storage.database import Database

log = structlog.get_logger(__name__)


class WorkerConfig(NamedTuple):
    group: str
    topic: str
    drain_seconds: float
    max_records: int = 2000


class Released(Exception):
    """The partitions of this batch have gone while it was waiting: somebody else settles it."""


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
        self._patience = Patience(progress, runtime)
        self._intake = Intake(
            consumer, database, config.group, config.topic, config.max_records, progress, runtime
        )
        self._committer = OffsetCommitter(consumer, progress)
        self._reporter = Reporter(handlers, metrics, runtime)
        self._released = 0
        """Batches of this epoch and earlier are not begun any more."""
        self._abandoned = 0
        """Batches of this epoch and earlier are not even tried again."""
        self._idle = asyncio.Event()
        self._idle.set()

    async def join(self) -> None:
        """Join the consumer group. Raises Unavailable or Misconfigured; may be tried again."""
        await self._consumer.start(self._release)

    async def run(self, stop: asyncio.Event) -> None:
        """Having joined, work until `stop`, then drain within the configured time and leave."""
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(self._committer.run(), name="commit"),
                    tasks.create_task(self._intake.watch(), name="watch"),
                ]
                tasks.create_task(self._intake.fetch_until(stop), name="fetch")
                work = [tasks.create_task(self._settle_all(), name="settle")]
                work += [
                    tasks.create_task(delivery.run(stop), name=f"deliver {name}")
                    for name, delivery in self._deliveries.items()
                ]
                await stop.wait()
                await self._drain(work)
                for task in beside:
                    task.cancel()
        finally:
            await self._consumer.stop()

    async def _drain(self, work: list[asyncio.Task[None]]) -> None:
        """Let what was begun end; what is not done by the deadline is left to whoever comes next."""
        log.info("draining", seconds=self._config.drain_seconds)
        _, late = await asyncio.wait(work, timeout=self._config.drain_seconds)
        for task in late:
            log.warning("drain_deadline_passed", task=task.get_name())
            task.cancel()
        if late:
            await self._intake.discard()

    async def _settle_all(self) -> None:
        while (fetched := await self._intake.next()) is not None:
            if fetched.epoch <= self._released:
                continue
            self._idle.clear()
            try:
                await self._settle(fetched)
            except Released:
                log.info("batch_released", records=len(fetched.items))
            finally:
                self._idle.set()

    async def _settle(self, fetched: Fetched) -> None:
        def given_up() -> bool:
            return fetched.epoch <= self._abandoned

        began = self._reporter.begin()
        try:
            batch = await self._patience.outlast("database", lambda: self._store(fetched), given_up)
        except Exception as error:
            raise Released from error
        self._committer.note(fetched.epoch, fetched.next_offsets)
        for name in batch.pending & self._deliveries.keys():
            self._deliveries[name].wake()
        self._reporter.settled(fetched.items, batch, began, self._intake.lag)

    async def _store(self, fetched: Fetched) -> Batch:
        async with self._database.transaction() as transaction:
            batch = Batch(fetched.items, self._handlers, self._config.group, transaction)
            await batch.settle(self._config.topic, fetched.next_offsets)
        return batch

    async def _release(self) -> None:
        """Before partitions go: let the running batch end and commit it, within the drain deadline.

        Must not await the fetching task: the client waits for us inside its fetch.
        """
        epoch = self._consumer.assignment().epoch
        self._released = epoch
        try:
            async with asyncio.timeout(self._config.drain_seconds):
                await self._idle.wait()
                await self._committer.flush()
        except Exception as error:
            # What is still running may commit to the database, which harms nothing: effects are unique
            # and positions only move forward. It is not tried again.
            self._abandoned = epoch
            log.warning("released_undrained", reason=type(error).__name__)
