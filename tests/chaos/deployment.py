"""What is put to the test: Kafka behind a proxy, PostgreSQL, two ingresses, workers, all to be hurt."""

import asyncio
import contextlib
import uuid
from pathlib import Path

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from tests.chaos.proxy import Proxy
from tests.end_to_end.clock import CLOCK, set_ahead
from tests.end_to_end.nursery import Nursery
from tests.end_to_end.postgres import OwnPostgres
from tests.end_to_end.processes import Running, Site, free_port, until
from tests.services.kafka import Kafka

DOORS = 2
WORKERS = 3
PARTITIONS = 6
SESSION_SECONDS = 6
READY_SECONDS = 150.0
LEASE_SECONDS = 6.0
"""Instead of 30, so that a run sees more than one of them end."""


class Deployment:
    """Everything that runs. Owns which processes should be up, by their place."""

    def __init__(self, directory: Path) -> None:
        self._nursery = Nursery(directory / "nursery", LEASE_SECONDS)
        wire = free_port()
        patient = {"broker.session.timeout.ms": "6000", "broker.heartbeat.interval.ms": "1000"}
        self.kafka = Kafka(
            directory / "kafka", patient | {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{wire}"}
        )
        self.start_kafka()
        self.wire = Proxy(self.kafka.port, wire)
        self.postgres = OwnPostgres()
        self.database = f"chaos_{uuid.uuid4().hex[:12]}"
        self.calls = directory / "calls"
        self.calls.mkdir()
        self.partitions = PARTITIONS
        self.site = Site(
            directory,
            self._nursery,
            kafka_bootstrap_servers=f"127.0.0.1:{wire}",
            database_url=self.postgres.create(self.database),
            events_partitions=PARTITIONS,
            session_timeout=SESSION_SECONDS,
            drain_seconds=5,
            log_format="json",
            handlers="tests.chaos.outside:Outside",
            OUTSIDE_CALLS=self.calls,
        )
        self.clocks = {
            name: directory / f"clock-{name}"
            for name in (*(f"door-{place}" for place in range(DOORS)), *map(_worker, range(WORKERS)))
        }
        """Of each machine: a file with the seconds by which it is ahead."""
        for clock in self.clocks.values():
            set_ahead(clock, 0.0)
        self._ports = [free_port() for _ in range(DOORS)]
        self.doors: dict[int, Running] = {}
        self.workers: dict[int, Running] = {}

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/webhooks/voucherify" for port in self._ports]

    def start(self) -> None:
        for command in ("topics", "ensure"), ("db", "upgrade"):
            answer = self.site.ask(*command)
            assert answer.code == 0, answer
        for place in range(DOORS):
            self.start_door(place)
        for place in range(WORKERS):
            self.start_worker(place)
        self.wait_ready()

    def start_door(self, place: int) -> None:
        clock = {CLOCK: self.clocks[f"door-{place}"]}
        self.doors[place] = self.site.start("ingress", ingress_port=self._ports[place], **clock)

    def start_worker(self, place: int) -> None:
        """Some with a name, so that they take their place again, some without."""
        name = _worker(place) if place % 2 else None
        clock = {CLOCK: self.clocks[_worker(place)]}
        self.workers[place] = self.site.start("worker", instance_id=name, **clock)

    def wait_ready(self) -> None:
        """Raises AssertionError for a process that has ended or does not come back to work."""
        for running in (*self.doors.values(), *self.workers.values()):
            _await_ready(running)

    def start_kafka(self) -> None:
        """A machine with much to do may need more than one try."""
        for _ in range(3):
            with contextlib.suppress(RuntimeError):
                self.kafka.start()
                return
        self.kafka.start()

    def add_partitions(self, count: int) -> None:
        self.partitions += count
        asyncio.run(self._add_partitions())

    async def _add_partitions(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap_servers)
        await admin.start()
        try:
            await admin.create_partitions({"redemptions.events": NewPartitions(self.partitions)})
        finally:
            await admin.close()

    def cut_database_connections(self) -> None:
        others = f"pg_stat_activity WHERE datname = '{self.database}'"
        self.postgres.run(f"SELECT pg_terminate_backend(pid) FROM {others}")  # noqa: S608

    def rows(self, question: str) -> list[asyncpg.Record]:
        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.postgres.url(self.database))
            try:
                return list(await connection.fetch(question))
            finally:
                await connection.close()

        return asyncio.run(ask())

    def close(self) -> None:
        self.site.close()
        self._nursery.close()
        self.kafka.kill()
        self.wire.close()
        self.postgres.close()


def _worker(place: int) -> str:
    return f"worker-{place}"


def _await_ready(running: Running) -> None:
    until(lambda: running.has_ended() or running.probe("ready") == 200, "all are ready", READY_SECONDS)
    assert not running.has_ended(), f"a process has ended by itself:\n{running.err[-2000:]}"
