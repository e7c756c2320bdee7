"""Effects at speed: handlers of some milliseconds, and claims beside millions of rows that are done."""

import asyncio
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from bench.cell import Store
from bench.measuring import database as a_database
from bench.services import Services
from bench.tables import Tabled
from broker.protocols import Record
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

HANDLERS = "Effect handlers"
RECORDS = "10,000 records in one partition, 0 to 5 ms of work each"
STORED_BESIDE = "Events stored while effects are claimed and called"
MILLISECONDS = (0, 1, 5, 50)
CONCURRENCIES = (20, 100, 250)
KEYS = (1, 10, 100, 10_000)
WAITING = (0, 10_000, 100_000)
DONE = (0, 1_000_000)
CLAIMED_BESIDE = "500 effects claimed, of 100,000 that wait beside others that are done"
GROUP, TOPIC, BATCH = "bench", "bench.events", 2_000
CALL_SECONDS = 0.05
SECONDS = 5
"""Of calls, at full speed."""
FASTEST = 6_000
"""Calls a second, thought of when so many are stored that they last for those seconds."""
MANY = 100
RECORDS_OF_KEYS = 10_000
CLAIMS, CLAIMED = 9, 500
FILLED_AT_ONCE = 100_000
STORED = 10_000
"""Events of which the time is taken."""


class Slow:
    name = "slow"
    kinds = (Kind.SUCCEEDED,)
    timeout = 10.0
    retry = Retry()

    def __init__(self, concurrency: int, calls: int, seconds: Callable[[], float]) -> None:
        """`seconds`: of each call."""
        self.concurrency = concurrency
        self._seconds = seconds
        self.ended: list[float] = []
        self.called = asyncio.Event()
        self.all_ended = asyncio.Event()
        self._calls = calls

    def wants(self, event: RedemptionEvent) -> bool:
        return True

    async def run(self, attempt: Attempt) -> None:
        self.called.set()
        if seconds := self._seconds():
            await asyncio.sleep(seconds)
        self.ended.append(time.perf_counter())
        if len(self.ended) == self._calls:
            self.all_ended.set()


@asynccontextmanager
async def _opened(store: Store, services: Services) -> AsyncIterator[Database]:
    """A database of its own, in this process as a worker has it."""
    with tempfile.TemporaryDirectory(prefix="bench-effects-") as place:
        async with a_database(store, services, Path(place)) as url:
            opened = connect(url, SystemRuntime())
            try:
                await upgrade(opened)
                yield opened
            finally:
                await opened.close()


async def at_speed(store: Store, ms: int, concurrency: int, services: Services) -> Tabled:
    """One row: calls a second of a handler that takes so long, so many at once."""
    async with _opened(store, services) as database:
        allowed = concurrency * 1000 / ms if ms else None
        count = min(FASTEST * SECONDS, int(allowed * SECONDS)) if allowed else FASTEST * SECONDS
        slow = Slow(concurrency, count, lambda: ms / 1000)
        a_second = await _calls_a_second(database, slow, _bodies(count))
    share = round(a_second / allowed, 2) if allowed else ""
    values = {"database": store, "ms": ms, "at once": concurrency}
    return Tabled(HANDLERS, values | {"calls/s": round(a_second), "of what that allows": share})


async def by_keys(store: Store, keys: int, services: Services) -> Tabled:
    """One row: 10,000 records of so many customers in one partition, each 0 to 5 ms of work: the shape that
    Confluent Parallel Consumer's README measures."""
    async with _opened(store, services) as database:
        slow = Slow(MANY, RECORDS_OF_KEYS, lambda: random.uniform(0, 0.005))
        a_second = await _calls_a_second(database, slow, _bodies(RECORDS_OF_KEYS, keys))
    values = {"database": store, "keys": keys, "at once": MANY}
    return Tabled(RECORDS, values | {"calls/s": round(a_second), "one after the other, by that": 400})


async def _calls_a_second(database: Database, slow: Slow, bodies: Sequence[bytes]) -> float:
    """Between the first and the last tenth of the calls."""
    await store_all(database, Handlers(effect=(slow,)), bodies)
    async with delivering(database, slow):
        await slow.all_ended.wait()
    count = len(bodies)
    return count * 0.8 / (slow.ended[-count // 10] - slow.ended[count // 10])


async def intake_beside(store: Store, waiting: int, services: Services) -> Tabled:
    """One row: events that the ledger stores in a second while a worker claims and calls, 20 at once, some of
    so many effects that wait; the median of three."""
    ledger = Handlers(transactional=(Loyalty(),))
    async with _opened(store, services) as database, AsyncExitStack() as beside:
        if waiting:
            slow = Slow(20, 0, lambda: CALL_SECONDS)
            await store_all(database, Handlers(effect=(slow,)), _bodies(waiting))
            await beside.enter_async_context(delivering(database, slow))
            await slow.called.wait()
        taken = sorted([await _seconds(database, ledger) for _ in range(3)])
    return Tabled(
        STORED_BESIDE, {"database": store, "waiting": waiting, "events/s": round(STORED / taken[1])}
    )


async def claim_beside(store: Store, done: int, services: Services) -> Tabled:
    """One row: the time of a claim."""
    async with _opened(store, services) as database:
        seconds = await claim_seconds(database, done=done, pending=100_000)
    return Tabled(CLAIMED_BESIDE, {"database": store, "done": done, "ms": round(seconds * 1000, 1)})


@asynccontextmanager
async def delivering(database: Database, slow: Slow) -> AsyncIterator[None]:
    runtime, stop = SystemRuntime(), asyncio.Event()
    (work,) = works_of(Handlers(effect=(slow,)), GROUP)
    delivery = Delivery(work, database, runtime, Progress(runtime), WorkerMetrics(CollectorRegistry()))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(delivery.run(stop))
        yield
        stop.set()


async def _seconds(database: Database, handlers: Handlers) -> float:
    began = time.perf_counter()
    await store_all(database, handlers, _bodies(STORED))
    return time.perf_counter() - began


async def store_all(database: Database, handlers: Handlers, bodies: Sequence[bytes]) -> None:
    """These events, as batches store them, their effects pending."""
    records = [Record(TOPIC, 0, number, 0, None, body, ()) for number, body in enumerate(bodies)]
    for start in range(0, len(records), BATCH):
        together = records[start : start + BATCH]
        async with database.transaction() as transaction:
            newcomers = Newcomers({}, SystemRuntime().token())
            items = [read_item(record, GROUP) for record in together]
            positions = {0: start + len(together)}
            await Batch(items, handlers, GROUP, transaction, newcomers).settle(TOPIC, positions)


def _bodies(count: int, keys: int = 1) -> list[bytes]:
    token = SystemRuntime().token()
    # From 1, as an id that ends in nothing but zeros is that of a test send.
    return [_body(f"r_{token}_{number}", f"cust_{number % keys}") for number in range(1, count + 1)]


def _body(redemption: str, customer: str) -> bytes:
    return json.dumps(
        {
            "customer": {"id": customer, "name": "x" * 500},
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
