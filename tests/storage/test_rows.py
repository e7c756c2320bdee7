"""Sets of rows, names and positions: what every statement of a batch stands on."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from storage.database import Database
from storage.errors import failure_of
from storage.positions import positions, store_positions
from storage.rows import Rows
from tests.services.databases import scalar

COLUMNS = {"t": "text", "b": "bigint", "s": "smallint", "f": "boolean"}


GIVEN = [
    [],
    [("a", 1, 2, True)],
    [("", -(2**63), -(2**15), False), ("ü😀'\"\\{}:x\\u0000", 2**63 - 1, 2**15 - 1, True)],
    [(None, None, None, None)],
    [(f"r_{number}", number, 0, True) for number in range(3000)],
]


@pytest.mark.parametrize("rows", GIVEN)
async def test_rows_arrive_as_they_were_given(database: Database, rows: list[tuple[Any, ...]]) -> None:
    async with database.transaction() as transaction:
        found = await transaction.run("SELECT r.t, r.b, r.s, r.f FROM {rows}", Rows(COLUMNS, rows))
    assert [tuple(row) for row in found] == rows


@pytest.mark.parametrize("rows", GIVEN)
async def test_rows_are_inserted_as_they_were_given(database: Database, rows: list[tuple[Any, ...]]) -> None:
    async with database.transaction() as transaction:
        await transaction.run("CREATE TEMPORARY TABLE given (t text, b bigint, s smallint, f boolean)")
        await transaction.run(
            "INSERT INTO given (t, b, s, f) SELECT r.t, r.b, r.s, r.f FROM {rows} WHERE true",
            Rows(COLUMNS, rows),
        )
        found = await transaction.run("SELECT t, b, s, f FROM given ORDER BY b")
        await transaction.run("DROP TABLE given")
    assert [tuple(row) for row in found] == rows


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_text_that_postgresql_cannot_hold_is_the_datas_fault(postgres: Database, text: str) -> None:
    with pytest.raises((DBAPIError, UnicodeEncodeError)) as refused:
        async with postgres.transaction() as transaction:
            await transaction.run(
                "INSERT INTO sales (id) SELECT r.id FROM {rows}", Rows({"id": "text"}, [(text,)])
            )
    assert failure_of(refused.value) is None


async def test_names_are_learned_once_and_found_by_both_ways(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.learn(word for word in ("loyalty", "default"))
    async with database.transaction() as transaction:
        await transaction.learn(["default", "caller"])
        numbers = [transaction.names.id(word) for word in ("loyalty", "default", "caller")]
        assert len(set(numbers)) == 3
        assert [transaction.names.word(number) for number in numbers] == ["loyalty", "default", "caller"]


async def test_workers_that_learn_different_names_at_once_never_share_a_number(database: Database) -> None:
    start = asyncio.Barrier(6)

    async def learn(worker: int) -> None:
        async with database.transaction() as transaction:
            if database.dialect == "postgresql":  # SQLite lets one in at a time
                await start.wait()
            await transaction.learn([f"of {worker}", "common", f"again {worker}"])

    await asyncio.gather(*(learn(worker) for worker in range(6)))
    assert await scalar(database, "SELECT count(*) FROM names") == 13
    assert await scalar(database, "SELECT count(DISTINCT id) FROM names") == 13


async def test_names_are_read_anew_by_each_transaction(database: Database) -> None:
    """After a restore a number may mean another word."""
    async with database.transaction() as transaction:
        await transaction.learn(["caller"])
        before = transaction.names.id("caller")
    async with database.transaction() as transaction:
        await transaction.run("DELETE FROM names")
    async with database.transaction() as transaction:
        await transaction.learn(["another"])
        await transaction.learn(["caller"])
        assert transaction.names.id("another") == before
        assert transaction.names.id("caller") != before


async def test_positions_never_go_back(database: Database) -> None:
    for given in ({0: 10, 1: 5}, {0: 7, 1: 8}, {2: 1}):
        async with database.transaction() as transaction:
            await store_positions(transaction, "group", "topic", given)
    async with database.snapshot() as snapshot:
        assert await positions(snapshot, "group", "topic") == {0: 10, 1: 8, 2: 1}
        assert await positions(snapshot, "other", "topic") == {}
