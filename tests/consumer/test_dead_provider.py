"""A provider that is dead for an hour: a hundred thousand effects wait, and the ledger does not notice."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.protocols import Record
from consumer.batch import Batch
from consumer.breaker import PROBE_MS
from consumer.item import read_item
from consumer.newcomers import Newcomers
from events.failures import Unavailable
from handlers.protocol import Attempt, Handlers, Retry
from storage.connect import connect
from storage.database import Database
from storage.schema import metadata
from tests.consumer.bench import GROUP, Bench, Caller, Clock, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import SALES

EFFECTS = 100_000
SALES_MADE = 1_000
"""Of these, so many come through the log, and are on the books."""
AT_ONCE = 2_000
STEPS = [10.0] * 12 + [60.0] * 58
"""Of simulated time, seconds: an hour; in each of them a call finds out whether the provider is back."""


class Simulated(Clock):
    """Of the worker and of its database alike."""

    def now(self) -> float:
        return super().now() + self.ahead


class Provider(Caller):
    concurrency = 200
    # Both would be used up within minutes.
    retry = Retry(attempts=3, first=1.0, longest=60.0, age=600.0)

    def __init__(self) -> None:
        super().__init__()
        self.dead = True
        self.number_of_calls = 0
        self.done: set[str] = set()

    async def run(self, attempt: Attempt) -> Any:
        self.number_of_calls += 1
        if self.dead:
            raise Unavailable("no_answer", "nobody there")
        self.done.add(attempt.key)


@pytest.fixture
def clock() -> Simulated:
    return Simulated()


@pytest.fixture
async def store(tmp_path: Path, clock: Simulated) -> AsyncIterator[Database]:
    """On SQLite: its clock is ours."""
    database = connect(f"sqlite:///{tmp_path / 'store.db'}", clock)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.exec_driver_sql(SALES)
    yield database
    await database.close()


@pytest.mark.timeout(600)
async def test_an_hour_without_an_answer(
    store: Database, log: ScriptedLog, clock: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A step in the middle of a transaction makes what it claims look old: it is renewed at once.
    monkeypatch.setattr("consumer.delivery.RENEW_SECONDS", 0.0)
    provider = Provider()
    bench = Bench(store, log, caller=provider, clock=clock)
    await wait_already(store, provider, EFFECTS - SALES_MADE)
    for number in range(1, SALES_MADE + 1):
        await log.append(TOPIC, a_success(f"r_{number}"), partition=number % 2)
    async with bench.running():
        await until(lambda: not log.lag)
        for step in STEPS:
            calls = provider.number_of_calls
            clock.ahead += step
            bench.worker._deliveries["caller"].wake()
            await until(lambda calls=calls: provider.number_of_calls > calls)  # type: ignore[misc]
            await until(lambda: next_probe_is_planned(bench))
        # Current, and right: what comes in the last minute is on the books, too.
        await log.append(TOPIC, a_success("r_late"))
        await until(lambda: not log.lag)
        assert await bench.points() == 100 * (SALES_MADE + 1)
        assert await bench.pending() == EFFECTS + 1
        assert await bench.letters() == []
        assert await bench.scalar("SELECT max(attempts) FROM effects WHERE state = 1") < 3
        provider.dead = False
        clock.ahead += STEPS[0]
        await bench.until_idle(500)
    assert len(provider.done) == EFFECTS + 1
    assert await bench.letters() == []
    assert await bench.records() == 0


async def next_probe_is_planned(bench: Bench) -> bool:
    """The last call's end is stored."""
    planned = "SELECT count(*) FROM breakers WHERE probe_at - {now} BETWEEN 1 AND :most"
    return bool(await bench.scalar(planned, most=PROBE_MS))


async def wait_already(database: Database, provider: Provider, count: int) -> None:
    """So many effects, of batches that another worker has stored."""
    handlers = Handlers(effect=(provider,))
    for start in range(0, count, AT_ONCE):
        bodies = [a_success(f"r_before_{number}x") for number in range(start, min(start + AT_ONCE, count))]
        items = [
            read_item(Record("other.events", 0, start + place, 0, None, body, ()), GROUP)
            for place, body in enumerate(bodies)
        ]
        async with database.transaction() as transaction:
            newcomers = Newcomers({}, f"before-{start}")
            await Batch(items, handlers, GROUP, transaction, newcomers).settle("other.events", {0: start + 1})
