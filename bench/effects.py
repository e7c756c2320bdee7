"""Effects at speed: a handler that takes 50 ms, and claiming beside millions of rows that are done."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import uvloop
from prometheus_client import CollectorRegistry

from bench.services import own_database, services
from broker.protocols import Record
from cli.tuning import tune_interpreter
from consumer.batch import Batch
from consumer.delivery import Delivery
from consumer.item import read_item
from consumer.metrics import WorkerMetrics
from consumer.newcomers import Newcomers
from consumer.progress import Progress
from consumer.work import works_of
from events.event import Kind, RedemptionEvent
from events.runtime import SystemRuntime
from handlers.loyalty.handler import Loyalty
from handlers.protocol import Attempt, Handlers, Retry
from storage.connect import connect
from storage.database import Database
from storage.leases import lease_due
from storage.schema import State
from storage.upgrade import upgrade

GROUP, TOPIC, BATCH = "bench", "bench.events", 2_000
CALL_SECONDS = 0.05
CONCURRENCIES = (20, 100, 250)
SECONDS = 8
"""Of calls, at full speed."""
WAITING = FILLED_AT_ONCE = 100_000
CLAIMS, CLAIMED = 9, 500
FEW = 10_000
STORED = 10_000
"""Events of which the time is taken."""


class Slow:
    name = "slow"
    kinds = (Kind.SUCCEEDED,)
    timeout = 10.0
    retry = Retry()

    def __init__(self, concurrency: int, calls: int) -> None:
        self.concurrency = concurrency
        self.ended: list[float] = []
        self.called = asyncio.Event()
        self.all_ended = asyncio.Event()
        self._calls = calls

    def wants(self, event: RedemptionEvent) -> bool:
        return True

    async def run(self, attempt: Attempt) -> None:
        self.called.set()
        await asyncio.sleep(CALL_SECONDS)
        self.ended.append(time.perf_counter())
        if len(self.ended) == self._calls:
            self.all_ended.set()


class Speed(NamedTuple):
    concurrency: int
    a_second: float
    share: float
    """Of concurrency ÷ 50 ms."""


async def run(rows: int) -> None:
    """Prints what it finds, for each database."""
    tune_interpreter()  # as a worker does
    with services() as servers, tempfile.TemporaryDirectory() as directory:
        async with own_database(servers.postgres, "bench_effects") as postgres:
            for store, url in (
                ("PostgreSQL", postgres),
                ("SQLite", f"sqlite:///{Path(directory) / 'store.db'}"),
            ):
                async with _opened(url) as database:
                    for concurrency in CONCURRENCIES:
                        speed = await _speed(database, concurrency)
                        told = f"{speed.a_second:,.0f}/s, {speed.share:.0%} of what 50 ms allow"
                        print(f"{store}: {concurrency} at once: {told}", flush=True)
                    async for waiting, a_second in _intake(database):
                        print(f"{store}: ledger beside {waiting:,} effects: {a_second:,.0f}/s", flush=True)
                    for total in (0, rows // 100, rows // 10, rows):
                        seconds = await claim_seconds(database, done=total, pending=WAITING)
                        print(
                            f"{store}: 500 claimed beside {total:,} rows: {seconds * 1000:.1f} ms", flush=True
                        )


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = connect(url, SystemRuntime())
    try:
        await upgrade(database)
        yield database
    finally:
        await database.close()


async def _speed(database: Database, concurrency: int) -> Speed:
    """Between the first and the last tenth of the calls."""
    allowed = concurrency / CALL_SECONDS
    count = int(allowed * SECONDS)
    slow = Slow(concurrency, count)
    await store(database, Handlers(effect=(slow,)), _bodies(count))
    async with delivering(database, slow):
        await slow.all_ended.wait()
    first, last = slow.ended[count // 10], slow.ended[-count // 10]
    a_second = count * 0.8 / (last - first)
    return Speed(concurrency, a_second, a_second / allowed)


@asynccontextmanager
async def delivering(database: Database, slow: Slow) -> AsyncIterator[None]:
    runtime, stop = SystemRuntime(), asyncio.Event()
    (work,) = works_of(Handlers(effect=(slow,)), GROUP)
    delivery = Delivery(work, database, runtime, Progress(runtime), WorkerMetrics(CollectorRegistry()))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(delivery.run(stop))
        yield
        stop.set()


async def _intake(database: Database) -> AsyncIterator[tuple[int, float]]:
    """Events stored in a second: without effects, then while a worker claims and calls, 20 at once, some of a
    few that wait, and of many; each the median of three."""
    slow, ledger = Slow(20, calls=0), Handlers(transactional=(Loyalty(),))
    yield 0, STORED / sorted([await _seconds(database, ledger) for _ in range(3)])[1]
    for waiting in (FEW, WAITING):
        await store(database, Handlers(effect=(slow,)), _bodies(waiting))
        slow.called.clear()
        async with delivering(database, slow):
            await slow.called.wait()
            beside = [await _seconds(database, ledger) for _ in range(3)]
        yield waiting, STORED / sorted(beside)[1]


async def _seconds(database: Database, handlers: Handlers) -> float:
    began = time.perf_counter()
    await store(database, handlers, _bodies(STORED))
    return time.perf_counter() - began


async def store(database: Database, handlers: Handlers, bodies: Sequence[bytes]) -> None:
    """These events, as batches store them, their effects pending."""
    records = [Record(TOPIC, 0, number, 0, None, body, ()) for number, body in enumerate(bodies)]
    for start in range(0, len(records), BATCH):
        together = records[start : start + BATCH]
        async with database.transaction() as transaction:
            newcomers = Newcomers({}, SystemRuntime().token())
            items = [read_item(record, GROUP) for record in together]
            positions = {0: start + len(together)}
            await Batch(items, handlers, GROUP, transaction, newcomers).settle(TOPIC, positions)


def _bodies(count: int) -> list[bytes]:
    token = SystemRuntime().token()
    return [_body(f"r_{token}_{number}") for number in range(count)]


def _body(redemption: str) -> bytes:
    return json.dumps(
        {
            "customer": {"id": "cust_1", "name": "x" * 500},
            "order": {"id": f"ord_{redemption}", "total_amount": 100, "status": "PAID"},
            "voucher": {"type": "DISCOUNT_VOUCHER"},
            "redemption": {"id": redemption, "result": "SUCCESS", "status": "SUCCEEDED"},
        }
    ).encode()


async def claim_seconds(database: Database, *, done: int, pending: int) -> float:
    """Seconds for a claim of 500 of those pending, beside those that are done; the median of nine."""
    await _fill(database, State.DONE, done)
    await _fill(database, State.PENDING, pending)
    async with database.transaction() as transaction:
        await transaction.learn(["slow"])
        slow = transaction.names.id("slow")
        if transaction.dialect == "postgresql":
            await transaction.run("ANALYZE effects")  # as autovacuum would have, long ago
    took = []
    for _ in range(CLAIMS):
        began = time.perf_counter()
        async with database.transaction() as transaction:
            leases = await lease_due(transaction, slow, slow, "bench", CLAIMED, 30.0)
        took.append(time.perf_counter() - began)
        assert len(leases) == CLAIMED
    return sorted(took)[CLAIMS // 2]


async def _fill(database: Database, state: State, total: int) -> None:
    """Until there are so many, all due."""
    series = (
        "generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS s(n)"
        if database.engine.dialect.name == "postgresql"
        else "(WITH RECURSIVE s(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM s WHERE n < :last) "
        "SELECT n FROM s) AS s"
    )
    prefix, due = ("wait_", "s.n") if state is State.PENDING else ("done_", "NULL")
    async with database.snapshot() as snapshot:
        counted = f"SELECT count(*) AS n FROM effects WHERE redemption_id LIKE '{prefix}%'"  # noqa: S608
        there = (await snapshot.run(counted))[0].n
    insert = f"""
        INSERT INTO effects (tenant, redemption_id, handler, kind, state, dependency, due_at)
        SELECT 1, '{prefix}' || s.n, h.id, 0, {state:d}, h.id, {due}
        FROM {series} CROSS JOIN names h WHERE h.name = 'slow'
    """  # noqa: S608 (nothing comes from outside)
    for start in range(there, total, FILLED_AT_ONCE):
        async with database.transaction() as transaction:
            await transaction.learn(["slow"])
            await transaction.run(insert, first=start, last=min(total, start + FILLED_AT_ONCE) - 1)


def main(rows: int) -> None:
    uvloop.run(run(rows))
