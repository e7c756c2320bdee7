"""`redemptions backfill`: one handler over what the log holds of a time."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Annotated, Any, NamedTuple

import typer
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.database import opened
from cli.invocation import settings_of
from cli.log import log_of
from cli.loop import run_loop
from cli.operator import deed_of
from cli.options import Json, iso, line, moment_ms
from cli.output import complain, print_json
from cli.points_policy import policy_in
from cli.process import guard_limits
from cli.stopping import stop_at_signal
from config.settings import Settings
from consumer.backfill import Backfill, BackfillConfig
from consumer.delivery import Delivery
from consumer.drift import DriftWatch
from consumer.metrics import WorkerMetrics
from consumer.progress import Progress as Health
from consumer.reporter import word
from consumer.settler import Settler, Stored
from consumer.waiting import GivenUp, Patience, set_within
from consumer.work import EventWork
from events.failures import Unavailable
from events.runtime import SystemRuntime
from handlers.protocol import Handlers
from handlers.registry import load_handlers
from storage.audit import audited
from storage.database import Database
from storage.effect_queries import counts_by_handler, is_due
from storage.schema import State

app = typer.Typer(help="One handler over the past.")
LOOK_SECONDS = 0.2
GO_ON = "the same command goes on where this one stopped"


class Wanted(NamedTuple):
    handler: str
    begin: int
    end: int | None


@app.command()
def backfill(
    context: typer.Context,
    handler: Annotated[str, typer.Option("--handler", metavar="HANDLER", callback=line)],
    begin: Annotated[
        int, typer.Option("--from", parser=moment_ms, metavar="TIME", help="From this date or time (UTC).")
    ],
    end: Annotated[
        int | None,
        typer.Option("--to", parser=moment_ms, metavar="TIME", help="Before this one. Default: the end."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", callback=line, help="The consumer group that runs the handler, for replays."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one handler over the records that the log holds of a time: a new handler, say.

    What it has done is not done again. Workers and their group go on undisturbed. Broken off, the same
    command goes on where it was. Exit code 1: it was stopped, or the guard has halted the handler.
    """
    settings = settings_of(context)
    if end is not None and begin >= end:
        raise typer.BadParameter("--from must be earlier than --to")
    handlers = _chosen(settings, handler)
    answer = run_loop(
        _backfill(
            settings, handlers, Wanted(handler, begin, end), group or settings.consumer_group, not as_json
        )
    )
    if as_json:
        print_json(answer)
    else:
        _tell(answer)
    if not answer["complete"]:
        raise typer.Exit(1)


def _chosen(settings: Settings, handler: str) -> Handlers:
    chosen = load_handlers(settings.handlers, policy_in(settings), only=(handler,))._replace(observers=())
    if not chosen.transactional and not chosen.effect:
        raise typer.BadParameter(f"the handler {handler} keeps nothing, so there is nothing to fill back")
    return chosen


async def _backfill(
    settings: Settings, handlers: Handlers, wanted: Wanted, group: str, visible: bool
) -> dict[str, Any]:
    stop = stop_at_signal()
    what = {"from": iso(wanted.begin), "to": iso(wanted.end), "group": group}
    deed = deed_of("backfill", what, subject=wanted.handler)
    async with opened(settings) as database, audited(database, deed) as counts:
        answer = await _Run(settings, handlers, wanted, group, database, stop).complete(visible)
        counts |= {"records": answer["records"], "complete": int(answer["complete"])}
    return answer


class _Run:
    """The parts of one call."""

    def __init__(
        self,
        settings: Settings,
        handlers: Handlers,
        wanted: Wanted,
        group: str,
        database: Database,
        stop: asyncio.Event,
    ) -> None:
        self._wanted = wanted
        self._handlers = handlers
        self._group = group
        self._database = database
        self._stop = stop
        self._runtime = runtime = SystemRuntime()
        self._health = Health(runtime)
        self._limits = guard_limits(settings)
        self._metrics = metrics = WorkerMetrics(CollectorRegistry())
        patience = Patience(self._health, runtime)
        span = f"{wanted.begin}-{'' if wanted.end is None else wanted.end}"
        reader = f"{group}.backfill.{wanted.handler}.{span}"
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
            group,
            settings.events_topic,
            self._limits,
            DriftWatch(metrics),
            patience,
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
            for handler in self._handlers.effect:
                work = EventWork(handler, self._group)
                delivery = Delivery(
                    work, self._database, self._runtime, self._health, self._metrics, self._limits
                )
                tasks.create_task(delivery.run(end), name=f"deliver {handler.name}")
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


def _tell(answer: dict[str, Any]) -> None:
    results = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in answer["results"].items())
    print(f"{answer['records']} records: {results or 'none for this handler'}")
    if answer["pending"]:
        print(f"{answer['pending']} effects wait for a later try, which workers that run the handler make")
    if answer["halted"]:
        complain(f"the handler {answer['handler']} stands still: see `redemptions handlers list`; {GO_ON}")
    elif not answer["complete"]:
        complain(f"stopped; {GO_ON}")
