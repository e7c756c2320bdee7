"""A store filled with copies is one that a worker could have left."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import runs
from bench.effects import Slow, delivering, store_all
from bench.events import Events
from bench.filling import COPIED, fill
from bench.growth import OF_THE_RAW_LOOP, THROUGHPUT
from bench.measuring import Limits
from bench.results import ResultsFile
from bench.services import Services
from bench.tables import Tabled
from events.runtime import SystemRuntime
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.policy import STANDARD
from handlers.loyalty.verification import verify
from handlers.protocol import Handlers
from storage.connect import connect
from storage.database import Database
from storage.upgrade import upgrade

pytestmark = pytest.mark.postgres
EVENTS, TIMES, CUSTOMERS = Events(300, 100), 10, 1_000
WHOLE = EVENTS.number * TIMES
LAID = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


@pytest.fixture
async def worked_on(postgres_database: str) -> AsyncIterator[Database]:
    """A store of 300 redemptions, whose effects are done, and of one whose effect waits."""
    database = connect(postgres_database, SystemRuntime())
    try:
        await upgrade(database)
        *done, waiting = [body for _, body in EVENTS._replace(number=EVENTS.number + 1).bodies()]
        slow = Slow(100, len(done), lambda: 0.0)
        handlers = Handlers(transactional=(Loyalty(),), effect=(slow,))
        await store_all(database, handlers, done)
        async with delivering(database, slow):
            await slow.all_ended.wait()
        await store_all(database, handlers, [waiting])
        yield database
    finally:
        await database.close()


async def rows_in(database: Database, table: str) -> int:
    async with database.snapshot() as snapshot:
        return int((await snapshot.run(f"SELECT count(*) AS n FROM {table}"))[0].n)  # noqa: S608


async def test_all_that_a_redemption_leaves_is_multiplied(
    worked_on: Database, postgres_database: str
) -> None:
    async with worked_on.snapshot() as snapshot:
        laid = await snapshot.run(LAID)
    assert await fill(postgres_database, WHOLE, CUSTOMERS) == WHOLE - EVENTS.number
    assert {await rows_in(worked_on, table) for table in COPIED} == {WHOLE + 1}
    assert await rows_in(worked_on, "effects WHERE state = 0") == WHOLE
    customers = await rows_in(worked_on, "balances")
    assert EVENTS.customers < customers <= CUSTOMERS + EVENTS.customers
    async with worked_on.snapshot() as snapshot:
        assert await snapshot.run(LAID) == laid


async def test_the_books_of_a_filled_store_agree(worked_on: Database, postgres_database: str) -> None:
    await fill(postgres_database, WHOLE, CUSTOMERS)
    async with worked_on.snapshot() as snapshot:
        assert [finding async for finding in verify(snapshot, STANDARD)] == []


async def test_fresh_events_are_of_customers_that_are_known(
    worked_on: Database, postgres_database: str
) -> None:
    await fill(postgres_database, WHOLE * 10, CUSTOMERS)
    keys = {key.decode() for key, _ in Events(1_000, CUSTOMERS).bodies()}
    async with worked_on.snapshot() as snapshot:
        rows = await snapshot.run("SELECT customer_id FROM balances")
    known = {row.customer_id for row in rows}
    assert len(keys & known) > 0.9 * len(keys)


async def test_a_size_that_is_there_is_not_played_again_and_the_empty_store_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[tuple[int, float | None]] = []

    @contextmanager
    def services() -> Iterator[Services]:
        yield Services("", "", None, None)

    async def preload(*_: object) -> None:
        pass

    async def growth_at(
        stored: int, services: Services, rounds: int, limits: Limits, empty: float | None
    ) -> Tabled:
        played.append((stored, empty))
        if stored == 5 and len(played) == 2:
            raise RuntimeError("got nothing done")
        return Tabled(THROUGHPUT, {"database": "postgres", "redemptions": stored, OF_THE_RAW_LOOP: 0.06})

    for fake in (services, preload, growth_at):
        monkeypatch.setattr(runs, fake.__name__, fake)
    for _ in range(2):
        await runs.run_growth(ResultsFile(tmp_path / "now.json"), (0, 5), (), 1, 1.0)
    assert played == [(0, None), (5, 0.06), (5, 0.06)]
    results = ResultsFile(tmp_path / "now.json").results
    assert [row.values["redemptions"] for row in results.tabled] == [0, 5]
    assert results.left_out == {}
