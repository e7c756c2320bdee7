"""One process: its parts in the order they start, and stop in the opposite one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from broker.protocols import Producer
from cli.banner import show_banner
from cli.database import require_file
from cli.log import log_of
from cli.points_policy import policy_in
from cli.secret_watch import kept_up_to_date
from cli.starting import wait_for, writable
from cli.tuning import tune_interpreter, tune_memory
from cli.worker_handlers import handlers_in
from config.demo_secret import demo_secret
from config.live_secrets import LiveSecrets, database_url
from config.settings import Settings
from config.webhook_secrets import DEFAULT_TENANT
from consumer.delivery import Delivery
from consumer.guard import GuardLimits
from consumer.jobs import JobRunner
from consumer.metrics import WorkerMetrics
from consumer.progress import Progress
from consumer.waiting import GivenUp, Patience
from consumer.work import LetterWork, Work, works_of
from consumer.worker import Worker, WorkerConfig
from events.runtime import Runtime, SystemRuntime
from handlers.loyalty.policy_history import admit
from handlers.protocol import Handlers
from ingress.admin import admin_app
from ingress.app import Ingress, IngressSettings
from ingress.metrics import IngressMetrics
from ingress.server import serve
from storage.connect import connect
from storage.database import Database
from storage.schema_version import require_schema

log = structlog.get_logger(__name__)

WATCH_SECONDS = 5.0


class Roles(NamedTuple):
    """What a process does."""

    admin_port: int
    ingress: bool = False
    worker: bool = False
    only: tuple[str, ...] = ()
    """Names of the worker's handlers; (): all."""

    @property
    def demo(self) -> bool:
        """Both: the command that needs no preparation, so it prepares by itself."""
        return self.ingress and self.worker


async def serve_roles(settings: Settings, roles: Roles, stop: asyncio.Event) -> None:
    """Run until `stop`. Raises Misconfigured at once, Unavailable after START_TIMEOUT; after readiness
    nothing ends it but `stop`."""
    tune_memory()
    runtime = SystemRuntime()
    if roles.demo or None in (settings.kafka_bootstrap_servers, settings.database_url):
        writable(settings.data_dir)
    if roles.demo and not settings.webhook_secrets:
        secret = demo_secret(settings.data_dir)
        settings = settings.model_copy(update={"webhook_secrets": {DEFAULT_TENANT: (SecretStr(secret),)}})
    async with AsyncExitStack() as parts:
        process = Process(settings, roles, runtime, parts)
        if await _unless(stop, process.start()):
            await process.serve(stop)
    log.info("stopped")


async def _unless(stop: asyncio.Event, starting: Coroutine[Any, Any, None]) -> bool:
    """Start, unless `stop` comes first; returns whether the start is complete."""
    start, stopping = asyncio.create_task(starting), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((start, stopping), return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            await start
        return start.done()
    finally:
        stopping.cancel()
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)


def guard_limits(settings: Settings) -> GuardLimits:
    return GuardLimits(settings.guard_in_a_row, settings.guard_window, settings.guard_share)


class Process:
    """The parts of one process. What is entered into `parts` first is closed last."""

    def __init__(self, settings: Settings, roles: Roles, runtime: Runtime, parts: AsyncExitStack) -> None:
        self._settings = settings
        self._roles = roles
        self._runtime = runtime
        self._parts = parts
        self._log = log_of(settings, runtime)
        self._policy = policy_in(settings)
        self._registry = CollectorRegistry()
        self._progress = Progress(runtime)
        self._started = False
        self._door: int | None = None
        self._worker: Worker | None = None
        self._jobs: JobRunner | None = None

    async def start(self) -> None:
        """Ports first: a busy one must end the start at once, and probes are answered while we wait."""
        settings, enter = self._settings, self._parts.enter_async_context
        admin = admin_app(live=self._live, ready=self._ready, registry=self._registry)
        await enter(serve(admin, settings.admin_host, self._roles.admin_port))
        producer = self._log.producer()
        self._parts.push_async_callback(producer.stop)  # after the door has answered its last request
        if self._roles.ingress:
            metrics = IngressMetrics(self._registry)
            secrets = LiveSecrets(settings)
            await enter(kept_up_to_date(secrets, metrics, self._runtime))
            door = self._ingress(producer, metrics, secrets)
            host, port = settings.ingress_host, settings.ingress_port
            self._door = await enter(serve(door, host, port, gate=door.gate, on_fault=metrics.count_answer))
        handlers = handlers_in(
            settings,
            self._policy,
            self._runtime,
            serving=self._roles.worker,
            only=self._roles.only,
            log=self._roles.demo,
        )
        if self._roles.worker:
            database = await enter(self._database())
            await enter(handlers.opened(database))
        if self._roles.demo:
            await self._wait("log", self._log.admin().ensure_topics)
        await self._wait("log", producer.start)
        if self._roles.worker:
            self._worker = self._assembled(database, producer, handlers)
            patience = Patience(self._progress, self._runtime)
            self._jobs = JobRunner(database, producer, settings.events_topic, self._runtime, patience)
            await self._wait("consumer group", self._worker.join)
        self._started = True
        tune_interpreter()

    async def serve(self, stop: asyncio.Event) -> None:
        if self._roles.demo:
            show_banner(self._settings, self._door)
        log.info("ready", ingress=self._door, worker=self._roles.worker)
        if self._worker is not None and self._jobs is not None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._jobs.run(stop), name="jobs")
                await self._worker.run(stop)
        else:
            await self._watch_log(stop)

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[Database]:
        require_file(self._settings.database(), create=self._roles.demo)
        url = self._settings.database()
        database = connect(url, self._runtime, renewed=lambda: database_url(self._settings))
        try:
            if self._roles.demo:
                from storage.upgrade import upgrade  # with Alembic, which others need not hold in memory

                await self._wait("database", lambda: upgrade(database))
            await self._wait("database", lambda: require_schema(database))
            await self._wait("database", lambda: admit(database, self._policy))
            yield database
        finally:
            await database.close()

    def _ingress(self, producer: Producer, metrics: IngressMetrics, secrets: LiveSecrets) -> Ingress:
        settings = IngressSettings(
            topic=self._settings.events_topic,
            secrets=lambda: secrets.current,
            max_body_bytes=self._settings.max_body_bytes,
            allowed_networks=self._settings.allowed_networks,
            trusted_proxies=self._settings.trusted_proxies,
            rate_limit=self._settings.rate_limit,
        )
        return Ingress(settings, producer, metrics, self._runtime)

    def _assembled(self, database: Database, producer: Producer, handlers: Handlers) -> Worker:
        settings = self._settings
        group = ".".join((settings.consumer_group, *self._roles.only))
        metrics = WorkerMetrics(self._registry)
        works: list[Work] = [*works_of(handlers, group, settings.consumer_group)]
        works.append(LetterWork(producer, settings.dead_letters_topic))
        return Worker(
            self._log.consumer(group),
            database,
            handlers,
            [
                Delivery(work, database, self._runtime, self._progress, metrics, guard_limits(settings))
                for work in works
            ],
            WorkerConfig(group, settings.events_topic, settings.drain_seconds, guard=guard_limits(settings)),
            self._runtime,
            self._progress,
            metrics,
        )

    async def _watch_log(self, stop: asyncio.Event) -> None:
        """An ingress alone: not ready while the log is away, so that a load balancer asks elsewhere."""
        admin = self._log.admin()
        patience = Patience(self._progress, self._runtime)
        self._progress.joined = True  # there is no group for it to wait for
        try:
            while not stop.is_set():
                with suppress(GivenUp):
                    await patience.outlast("log", admin.ping, stop)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), WATCH_SECONDS)
        finally:
            await admin.close()

    async def _wait(self, name: str, start: Callable[[], Awaitable[object]]) -> None:
        await wait_for(name, start, self._settings.start_timeout)

    def _live(self) -> Mapping[str, bool]:
        return dict.fromkeys(self._progress.live(), False) or {"process": True}

    def _ready(self) -> Mapping[str, bool]:
        waiting = (
            [reason.partition(":")[0] for reason in self._progress.ready()] if self._started else ["start"]
        )
        return dict.fromkeys(waiting, False) or {"process": True}
