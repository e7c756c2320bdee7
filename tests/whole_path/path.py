"""The product in one process, wired as `redemptions run` does: door, embedded log, worker, SQLite."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path as File
from typing import Any, NamedTuple

import httpx
from prometheus_client import CollectorRegistry

from broker.embedded import EmbeddedConsumer, EmbeddedProducer
from broker.embedded_log import EmbeddedLog
from broker.topics import Topics
from consumer.delivery import Delivery
from consumer.metrics import WorkerMetrics
from consumer.progress import Progress
from consumer.work import EventWork, LetterWork
from consumer.worker import Worker, WorkerConfig
from events.outcome import Outcome
from events.runtime import SystemRuntime
from events.signature import sign
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.policy import Policy
from handlers.loyalty.verification import Finding, verify
from handlers.protocol import Handlers
from handlers.record import Record
from ingress.app import Ingress, IngressSettings
from ingress.metrics import IngressMetrics
from storage.connect import connect
from storage.database import Database
from storage.upgrade import upgrade
from tests.consumer.bench import GROUP, LETTERS, Caller, Told, until
from tests.consumer.scripted import TOPIC

SECRET = "whole-path-secret-0123456789"


class Letter(NamedTuple):
    body: bytes
    handler: str | None
    reason: str
    error: str


class Play(NamedTuple):
    """What became of some deliveries."""

    answers: list[int]
    outcomes: list[Outcome]
    letters: list[Letter]
    findings: list[Finding]
    calls: int
    """Of the effect handler."""


async def play(directory: File, bodies: Sequence[bytes], policy: Policy) -> Play:
    """Deliver all, wait until nothing is left to do, and look. Raises when the worker does."""
    runtime, registry = SystemRuntime(), CollectorRegistry()
    database = connect(f"sqlite:///{directory / 'store.db'}", runtime)
    log = EmbeddedLog(directory / "log.db", Topics(partitions=3), runtime)
    producer, told, caller = EmbeddedProducer(log), Told(), Caller()
    try:
        await upgrade(database)
        await producer.start()
        settings = IngressSettings(topic=TOPIC, secrets=lambda: {"default": (SECRET,)})
        door = Ingress(settings, producer, IngressMetrics(registry), runtime)
        answers = await _deliver(door, bodies)
        handlers = Handlers((Loyalty(policy), Record()), (caller,), (told,))
        progress, metrics = Progress(runtime), WorkerMetrics(registry)
        works: list[Any] = [EventWork(caller, GROUP), LetterWork(producer, LETTERS)]
        worker = Worker(
            EmbeddedConsumer(log, GROUP),
            database,
            handlers,
            [Delivery(work, database, runtime, progress, metrics) for work in works],
            WorkerConfig(GROUP, TOPIC, 10.0),
            runtime,
            progress,
            metrics,
        )
        async with _running(worker):
            await until(lambda: len(told.outcomes) >= answers.count(202))
            await until(lambda: _settled(database))
        async with database.snapshot() as snapshot:
            rows = await snapshot.run("SELECT value, handler, reason, error FROM dead_letters")
            findings = [finding async for finding in verify(snapshot, policy)]
        return Play(answers, told.outcomes, [Letter(*row) for row in rows], findings, len(caller.calls))
    finally:
        await producer.stop()
        await database.close()


async def _deliver(door: Ingress, bodies: Sequence[bytes]) -> list[int]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://door") as client:
        return [
            (
                await client.post(
                    "/webhooks/voucherify",
                    content=body,
                    headers={"x-voucherify-signature": sign(body, SECRET)},
                )
            ).status_code
            for body in bodies
        ]


@asynccontextmanager
async def _running(worker: Worker) -> AsyncIterator[None]:
    stop = asyncio.Event()
    await worker.join()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(stop))
        try:
            yield
        finally:
            stop.set()


async def _settled(database: Database) -> bool:
    async with database.snapshot() as snapshot:
        return not (await snapshot.run("SELECT count(*) FROM effects WHERE state = 1"))[0][0]
