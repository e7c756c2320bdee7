"""New rows by the short way: what was there is told, whatever was tried first; faults have their names."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from events.failures import Misconfigured, Unavailable
from storage.database import Database, Transaction
from storage.errors import failure_of
from storage.inserting import FEW, insert_absent, insert_new
from storage.rows import Rows
from tests.consumer.bench import until
from tests.services.databases import scalar

COLUMNS = {"id": "text"}


def sales(*ids: str) -> Rows:
    return Rows(COLUMNS, [(id,) for id in sorted(ids)])


async def insert(database: Database, *ids: str) -> set[tuple[Any, ...]]:
    async with database.transaction() as transaction:
        return await insert_absent(transaction, "sales", sales(*ids), 1)


@pytest.mark.parametrize("few", [1, FEW], ids=["tried", "asked"])
async def test_what_was_there_is_told_and_the_rest_is_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("storage.inserting.FEW", few)
    assert await insert(database, "r_1", "r_2") == set()
    assert await insert(database, "r_2", "r_3") == {("r_2",)}  # having tried in vain
    assert await insert(database, "r_3", "r_4") == {("r_3",)}  # having looked first
    assert await insert(database, "r_5") == set()  # the same, and nothing was there
    assert await insert(database, "r_6", "r_7") == set()  # so it is tried again
    assert await insert(database, "r_1", "r_7", "r_8") == {("r_1",), ("r_7",)}
    assert await scalar(database, "SELECT count(*) FROM sales") == 8


async def test_an_attempt_in_vain_leaves_what_the_transaction_did_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.inserting.FEW", 1)
    await insert(database, "r_2")
    async with database.transaction() as transaction:
        await transaction.run("INSERT INTO sales (id) VALUES ('r_0')")
        assert await insert_absent(transaction, "sales", sales("r_1", "r_2"), 1) == {("r_2",)}
        await transaction.run("INSERT INTO sales (id) VALUES ('r_9')")
    assert await scalar(database, "SELECT count(*) FROM sales") == 4


async def test_rows_said_to_be_new_that_are_not_are_the_datas_fault(database: Database) -> None:
    await insert(database, "r_1")
    with pytest.raises(IntegrityError) as refused:
        async with database.transaction() as transaction:
            await insert_new(transaction, "sales", sales("r_0", "r_1"))
    assert failure_of(refused.value) is None
    assert await scalar(database, "SELECT count(*) FROM sales") == 1


@pytest.mark.parametrize("number", [0, 1, 3000])
async def test_values_arrive_as_they_were_given(database: Database, number: int) -> None:
    columns = {"t": "text", "b": "bigint", "s": "smallint", "f": "boolean"}
    given: list[tuple[Any, ...]] = [
        ("ü😀'\"\\{}:x\\u0000\t\n\\N", 2**63 - 1, 2**15 - 1, True),
        ("", -(2**63), -(2**15), False),
        (None, None, None, None),
    ]
    rows = [given[index % 3] for index in range(number)]
    async with database.transaction() as transaction:
        await transaction.run("CREATE TEMPORARY TABLE given (t text, b bigint, s smallint, f boolean)")
        await insert_new(transaction, "given", Rows(columns, rows))
        found = await transaction.run("SELECT t, b, s, f FROM given")
        await transaction.run("DROP TABLE given")
    assert Counter(map(tuple, found)) == Counter(rows)


async def test_who_meets_the_same_rows_in_another_transaction_waits_and_is_told(postgres: Database) -> None:
    stored, leave = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with postgres.transaction() as transaction:
            await insert_absent(transaction, "sales", sales("r_1", "r_2"), 1)
            stored.set()
            await leave.wait()

    holder = asyncio.create_task(first())
    await stored.wait()
    second = asyncio.create_task(insert(postgres, "r_2", "r_3"))
    await until(lambda: _someone_waits(postgres))
    leave.set()
    await holder
    assert await second == {("r_2",)}
    assert await scalar(postgres, "SELECT count(*) FROM sales") == 3


async def _someone_waits(postgres: Database) -> bool:
    locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return bool(await scalar(postgres, f"{locked} AND datname = current_database()"))


async def _end_session(postgres: Database, transaction: Transaction) -> None:
    ((pid,),) = await transaction.run("SELECT pg_backend_pid()")
    async with postgres.transaction() as other:
        await other.run("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)


async def test_a_connection_lost_before_a_copy_is_an_outage_and_the_next_one_works(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.inserting.FEW", 1)
    with pytest.raises(Unavailable):
        async with postgres.transaction() as transaction:
            await _end_session(postgres, transaction)
            await insert_absent(transaction, "sales", sales("r_1"), 1)
    assert await insert(postgres, "r_1") == set()


async def test_a_table_that_is_not_there_is_our_fault(postgres: Database) -> None:
    with pytest.raises(Misconfigured):
        async with postgres.transaction() as transaction:
            await insert_new(transaction, "nowhere", sales("r_1"))


async def test_text_that_postgresql_cannot_hold_is_the_datas_fault(postgres: Database) -> None:
    for text in ("a\0b", "\ud800"):
        with pytest.raises(Exception) as refused:
            async with postgres.transaction() as transaction:
                await insert_new(transaction, "sales", sales(text))
        assert failure_of(refused.value) is None
    assert await insert(postgres, "r_1") == set()
