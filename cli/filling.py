"""One call of a backfill: its parts, its progress on the terminal, and what it comes to."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.log import log_of
from cli.options import iso
from cli.output import complain
from cli.process import guard_limits
from config.settings import Settings
from consumer.backfill import Backfill, BackfillConfig
from consumer.delivery import Delivery
from consumer.drift import DriftWatch
from consumer.metrics import WorkerMetrics
from consumer.newcomers import Newcomers
from consumer.progress import Progress as Health
from consumer.reporter import word
from consumer.settler import Settler, Stored
from consumer.waiting import GivenUp, Patience, set_within
from consumer.work import works_of
from events.failures import Unavailable
from events.runtime import SystemRuntime
from handlers.protocol import Handlers
from storage.database import Database
from storage.effect_queries import counts_by_handler, is_due
from storage.schema import State

LOOK_SECONDS = 0.2


class Wanted(NamedTuple):
    """Which handler, over which time (milliseconds), for which group of workers."""

    handler: str
    begin: int
    end: int | None
    group: str


class Filling:
    """The parts of one call."""

    def __init__(
        self,
        settings: Settings,
        handlers: Handlers,
        wanted: Wanted,
        database: Database,
        stop: asyncio.Event,
    ) -> None:
        self._wanted = wanted
        self._handlers = handlers
        self._database = database
        self._stop = stop
        self._runtime = runtime = SystemRuntime()
        self._health = Health(runtime)
        self._limits = guard_limits(settings)
        self._metrics = metrics = WorkerMetrics(CollectorRegistry())
        patience = Patience(self._health, runtime)
        span = f"{wanted.begin}-{'' if wanted.end is None else wanted.end}"
        reader = f"{wanted.group}.backfill.{wanted.handler}.{span}"
        config = BackfillConfig(
            wanted.handler,
            bool(handlers.transactional),
            reader,
            settings.events_topic,
            wanted.begin,
            wanted.end,
        )
        settler = Settler(
            database,
            handlers,
            wanted.group,
            settings.events_topic,
            self._limits,
            DriftWatch(metrics, runtime),
            patience,
            lambda: Newcomers({}, runtime.token()),
            reader,
        )
        self._history = log_of(settings, runtime).history()
        self._backfill = Backfill(self._history, database, settler, config, patience, stop)
        self._results: Counter[str] = Counter()
        self._records = 0

    async def complete(self, visible: bool) -> dict[str, Any]:
        """All of it, or as much as can be before it is stopped."""
        await self._history.start()
        is_complete = False
        try:
            with suppress(GivenUp):
                await self._backfill.begin()
                if self._backfill.log_begins is not None:
                    complain(
                        f"the log begins at {iso(self._backfill.log_begins)} only: "
                        "what was there before is deleted, and is not filled back"
                    )
                if self._backfill.resumed:
                    complain("going on where the last run stopped")
                is_complete = await self._run(visible)
        finally:
            await self._history.stop()
        return await self._answer(is_complete)

    async def _run(self, visible: bool) -> bool:
        with _bar(self._wanted.handler, visible) as bar:
            task = bar.add_task("records", total=self._backfill.covered.total)

            def told(stored: Stored) -> None:
                self._count(stored)
                bar.update(task, completed=self._backfill.covered.done + len(stored.fetched.items))

            async with self._delivering():
                if not await self._backfill.run(told):
                    return False
                bar.update(task, completed=self._backfill.covered.total)
                await self._until_none_is_due()
        return not self._stop.is_set()

    def _count(self, stored: Stored) -> None:
        self._records += len(stored.fetched.items)
        if stored.batch is not None:
            self._results.update(word(text) for told in stored.batch.results for text in told.values())

    @asynccontextmanager
    async def _delivering(self) -> AsyncIterator[None]:
        """Deliver the handler's effects meanwhile, as every worker that runs it does."""
        end = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for work in works_of(self._handlers, self._wanted.group):
                delivery = Delivery(
                    work, self._database, self._runtime, self._health, self._metrics, self._limits
                )
                tasks.create_task(delivery.run(end), name=f"deliver {work.handler}")
            try:
                yield
            finally:
                end.set()

    async def _until_none_is_due(self) -> None:
        while self._handlers.effect and not self._stop.is_set():
            with suppress(Unavailable):
                async with self._database.snapshot() as snapshot:
                    if not await is_due(snapshot, self._wanted.handler):
                        return
            await set_within(self._stop, LOOK_SECONDS)

    async def _answer(self, is_complete: bool) -> dict[str, Any]:
        async with self._database.snapshot() as snapshot:
            pending = (await counts_by_handler(snapshot, State.PENDING)).get(self._wanted.handler, 0)
        return {
            "handler": self._wanted.handler,
            "from": iso(self._wanted.begin),
            "to": iso(self._wanted.end),
            "records": self._records,
            "results": {name.replace(" ", "_"): count for name, count in sorted(self._results.items())},
            "pending": pending,
            "log_begins": iso(self._backfill.log_begins),
            "resumed": self._backfill.resumed,
            "halted": self._backfill.halted,
            "complete": is_complete,
        }


@contextmanager
def _bar(handler: str, visible: bool) -> Iterator[Progress]:
    columns = (
        TextColumn(handler.replace("[", "\\[")),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=Console(stderr=True), disable=not (visible and sys.stderr.isatty())
    ) as bar:
        yield bar
