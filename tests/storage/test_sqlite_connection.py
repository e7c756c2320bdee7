"""aiosqlite as we use it: how often a statement goes to the connection's thread, and what comes back."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import aiosqlite
import pytest
from sqlalchemy.exc import IntegrityError

from events.failures import DatabaseUnavailable
from storage import sqlite_connection
from storage.database import Database
from storage.rows import Rows

COUNT = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < :most) SELECT id FROM n"


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many of them all connections make."""
    counted, execute = Counter[str](), aiosqlite.Connection._execute

    async def count(self: aiosqlite.Connection, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        counted["made"] += 1
        return await execute(self, function, *args, **more)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", count)
    return counted


async def test_a_statement_takes_one_trip(sqlite: Database, trips: Counter[str]) -> None:
    async with sqlite.transaction() as transaction:
        before = trips["made"]
        assert [row.id for row in await transaction.run(COUNT, most=3)] == [1, 2, 3]
        assert trips["made"] == before + 1


async def test_rows_in_many_sizes_take_one_trip(sqlite: Database, trips: Counter[str]) -> None:
    async with sqlite.transaction() as transaction:
        before = trips["made"]
        rows = Rows({"id": "text"}, [(f"r_{number}",) for number in range(1023)])
        await transaction.run("INSERT INTO sales (id) SELECT r.id FROM {rows}", rows)
        assert trips["made"] == before + 1
        (row,) = await transaction.run("SELECT count(*) AS stored FROM sales")
        assert row.stored == 1023


async def test_of_rows_that_fail_half_way_a_savepoint_leaves_none(sqlite: Database) -> None:
    rows = Rows({"id": "text"}, [(f"r_{number % 1000}",) for number in range(1023)])
    async with sqlite.transaction() as transaction:
        with pytest.raises(IntegrityError):
            async with transaction.savepoint():
                await transaction.run("INSERT INTO sales (id) SELECT r.id FROM {rows}", rows)
        assert await transaction.run("SELECT id FROM sales") == []


async def test_a_statement_for_each_row_is_run(sqlite: Database) -> None:
    async with sqlite.transaction() as transaction:
        await transaction.run_each("INSERT INTO sales (id) VALUES (:id)", [{"id": "r_1"}, {"id": "r_2"}])
        assert [row.id for row in await transaction.run("SELECT id FROM sales ORDER BY id")] == ["r_1", "r_2"]


@pytest.mark.parametrize("most", [0, 1, 6, 7, 8, 14, 50])
async def test_long_answers_are_whole(sqlite: Database, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(sqlite_connection, "FETCHED_AT_ONCE", 7)
    async with sqlite.snapshot() as snapshot:
        expected = [*range(1, most + 1)] or [1]
        assert [row.id for row in await snapshot.run(COUNT, most=most)] == expected
        assert [row.id async for row in snapshot.stream(COUNT, most=most)] == expected


async def test_a_stream_holds_few_rows(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    held = 0
    fetched = sqlite_connection._fetched

    def watched(connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> Any:
        nonlocal held
        answer = fetched(connection, cursor)
        held = max(held, len(answer.rows))
        return answer

    monkeypatch.setattr(sqlite_connection, "_fetched", watched)
    async with sqlite.snapshot() as snapshot:
        total = [row.id async for row in snapshot.stream(COUNT, most=60_000)]
    assert (len(total), held) == (60_000, sqlite_connection.FETCHED_AT_ONCE)


async def test_a_stream_left_early_holds_no_lock(sqlite: Database) -> None:
    async with sqlite.transaction() as transaction:
        await transaction.run("INSERT INTO sales (id) VALUES ('r_1')")
    async with sqlite.transaction() as transaction:
        async for row in transaction.stream(COUNT, most=60_000):
            if row.id == 3:
                break
    async with sqlite.transaction() as transaction:
        await transaction.run("DELETE FROM sales")


async def test_what_has_no_answer_goes_with_the_next_statement(sqlite: Database, trips: Counter[str]) -> None:
    async with sqlite.transaction() as transaction:
        before = trips["made"]
        async with transaction.savepoint():
            await transaction.run_each("INSERT INTO sales (id) VALUES (:id)", [{"id": "r_1"}])
        assert trips["made"] == before + 1
        assert [row.id for row in await transaction.run("SELECT id FROM sales")] == ["r_1"]
        assert trips["made"] == before + 2
    assert trips["made"] == before + 3  # the commit, with nothing behind it


async def test_a_savepoint_without_a_statement_may_fail(sqlite: Database) -> None:
    async with sqlite.transaction() as transaction:
        await transaction.run_each("INSERT INTO sales (id) VALUES (:id)", [{"id": "r_1"}])
        with pytest.raises(ZeroDivisionError):
            async with transaction.savepoint():
                raise ZeroDivisionError
        async with transaction.savepoint():
            pass
    async with sqlite.snapshot() as snapshot:
        assert [row.id for row in await snapshot.run("SELECT id FROM sales")] == ["r_1"]


async def test_what_was_not_sent_does_not_outlive_its_transaction(sqlite: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with sqlite.transaction() as transaction:
            await transaction.run_each("INSERT INTO sales (id) VALUES (:id)", [{"id": "r_1"}])
            await transaction.connection.begin_nested()
            raise ZeroDivisionError
    async with sqlite.transaction() as transaction:
        assert await transaction.run("SELECT id FROM sales") == []


async def test_a_transaction_cut_off_in_a_statement_is_undone(sqlite: Database) -> None:
    async with sqlite.transaction() as transaction:
        rows = Rows({"id": "text"}, [(f"r_{number}",) for number in range(100)])
        await transaction.run("INSERT INTO sales (id) SELECT r.id FROM {rows}", rows)

    async def work() -> None:
        async with sqlite.transaction() as transaction:
            await transaction.run("DELETE FROM sales WHERE id IN (SELECT id FROM sales LIMIT 50)")
            await transaction.run(COUNT, most=3_000_000)

    for seconds in (0.0, 0.01, 0.1):
        task = asyncio.create_task(work())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])
        async with sqlite.transaction() as transaction:
            (row,) = await transaction.run("SELECT count(*) AS stored FROM sales")
            assert row.stored == 100


async def test_a_begin_that_is_refused_shows_as_an_outage(sqlite: Database) -> None:
    path = sqlite.engine.url.database
    with closing(sqlite3.connect(str(path), isolation_level=None)) as other:
        async with sqlite.transaction() as transaction:
            await transaction.connection.exec_driver_sql("PRAGMA busy_timeout = 50")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable):
            async with sqlite.transaction() as transaction:
                raise AssertionError("it has not begun")
        other.execute("ROLLBACK")
    async with sqlite.transaction() as transaction:
        await transaction.run_each("INSERT INTO sales (id) VALUES (:id)", [{"id": "r_1"}])
