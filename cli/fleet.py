"""`redemptions worker --processes N`: child workers of one parent, which owns the admin port for all."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import httpx
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from cli.stopping import stop_at_signal
from config.settings import PREFIX, Settings
from events.failures import Misconfigured, Unavailable
from ingress.admin import admin_app
from ingress.server import serve

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
RESTART_SECONDS = 2.0
KILL_MARGIN_SECONDS = 5.0


class View(NamedTuple):
    """What the parent last saw of a child."""

    live: bool = True
    ready: bool = False
    metrics: str = ""


class Fleet:
    """Keeps N workers running until the parent is told to stop."""

    def __init__(self, settings: Settings, processes: int, arguments: Sequence[str]) -> None:
        if settings.kafka_bootstrap_servers is None:
            raise Misconfigured(
                "processes",
                "--processes needs Kafka: the embedded log has one consuming process per group",
            )
        self._settings = settings
        self._arguments = arguments
        self._views = [View()] * processes
        self._were_ready = [False] * processes

    async def run(self, admin_port: int) -> None:
        """Returns after SIGTERM or SIGINT. Raises Unavailable when a child cannot start."""
        stop = stop_at_signal()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Merged(self._views))
        admin = admin_app(live=self._live, ready=self._ready, registry=registry)
        async with serve(admin, self._settings.admin_host, admin_port):
            try:
                async with asyncio.TaskGroup() as children:
                    for number in range(len(self._views)):
                        children.create_task(self._keep_running(number, stop), name=f"child {number}")
            except ExceptionGroup as group:
                raise group.exceptions[0] from None

    async def _keep_running(self, number: int, stop: asyncio.Event) -> None:
        while not stop.is_set():
            port = _free_port()
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "worker", "--child", *self._arguments,
                stdin=asyncio.subprocess.PIPE,  # its end tells the child that we are gone
                env=self._environment(number, port),
            )  # fmt: skip
            log.info("child_started", number=number, pid=child.pid)
            looking = asyncio.create_task(self._look(number, port))
            try:
                code = await self._until_ended(child, stop)
            finally:
                looking.cancel()
                self._views[number] = View()
            if not stop.is_set():
                log.error("child_ended", number=number, code=code)
                if not self._were_ready[number]:
                    raise Unavailable("child", f"worker process {number} could not start: see its line above")
                await asyncio.sleep(RESTART_SECONDS)

    async def _until_ended(self, child: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
        ended = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                child.terminate()
                await asyncio.wait((ended,), timeout=self._settings.drain_seconds + KILL_MARGIN_SECONDS)
            return await ended if ended.done() else -1
        finally:
            stopping.cancel()
            if not ended.done():
                child.kill()
                await ended

    def _environment(self, number: int, port: int) -> dict[str, str]:
        instance = self._settings.instance_id
        own = {f"{PREFIX}ADMIN_PORT": str(port), f"{PREFIX}ADMIN_HOST": "127.0.0.1"}
        if instance is not None:
            own[f"{PREFIX}INSTANCE_ID"] = f"{instance}-{number}"
        return os.environ | own

    async def _look(self, number: int, port: int) -> None:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=5) as client:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    live, ready, metrics = [
                        await client.get(path) for path in ("/health/live", "/health/ready", "/metrics")
                    ]
                except httpx.HTTPError:
                    self._views[number] = View()
                    continue
                self._views[number] = View(live.is_success, ready.is_success, metrics.text)
                self._were_ready[number] |= ready.is_success

    def _live(self) -> Mapping[str, bool]:
        return {f"process {number}": view.live for number, view in enumerate(self._views)}

    def _ready(self) -> Mapping[str, bool]:
        return {f"process {number}": view.ready for number, view in enumerate(self._views)}


class _Merged:
    """The children's metrics as one exposition, each sample with the number of its process."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for number, view in enumerate(self._views):
            for family in text_string_to_metric_families(view.metrics):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                merged.samples += [
                    sample._replace(labels={**sample.labels, "process": str(number)})
                    for sample in family.samples
                ]
        return families.values()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
