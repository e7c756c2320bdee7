"""Statements past SQLAlchemy: in its transaction, with its faults, whichever driver is below."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from events.failures import DatabaseUnavailable, Failure, Misconfigured
from storage.database import Database, Transaction
from tests.services.databases import scalar

INSERT = "INSERT INTO sales (id) VALUES (:id)"


async def ids(transaction: Transaction) -> list[str]:
    return [row.id for row in await transaction.run("SELECT id FROM sales ORDER BY id")]


async def test_a_row_has_its_columns_by_place_and_by_name(database: Database) -> None:
    async with database.transaction() as transaction:
        (row,) = await transaction.run('SELECT 1 AS items, 2 AS "count", 3 AS "index", 4 AS "class"')
        assert row == (1, 2, 3, 4)
        assert (row.items, row.count, row.index) == (1, 2, 3)
        assert row._asdict() | {"items": 5} == dict(zip(row._asdict(), (5, 2, 3, 4), strict=True))
        assert await transaction.run("SELECT 1, 2") == [(1, 2)]
        assert await transaction.run("SELECT 1 WHERE 1 = 2") == []


async def test_a_parameter_stands_wherever_its_name_does(database: Database) -> None:
    async with database.transaction() as transaction:
        (row,) = await transaction.run(
            "SELECT CAST(:b AS text) AS b, CAST(:a AS text) AS a, CAST(:b AS text) || ' at 12:30' AS again",
            a="A",
            b="B",
        )
    assert (row.a, row.b, row.again) == ("A", "B", "B at 12:30")


async def test_both_ways_work_in_one_transaction(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as transaction:
            await transaction.run(INSERT, id="r_1")
            await transaction.connection.execute(text(INSERT), {"id": "r_2"})
            assert await ids(transaction) == ["r_1", "r_2"]
            raise ZeroDivisionError
    assert await scalar(database, "SELECT count(*) FROM sales") == 0


async def test_a_savepoint_undoes_what_came_by_either_way(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run(INSERT, id="r_0")
        with pytest.raises(IntegrityError):
            async with transaction.savepoint():
                await transaction.connection.execute(text(INSERT), {"id": "r_1"})
                async with transaction.savepoint():
                    await transaction.run(INSERT, id="r_2")
                async with transaction.connection.begin_nested():
                    await transaction.run(INSERT, id="r_3")
                await transaction.run(INSERT, id="r_1")
        assert await ids(transaction) == ["r_0"]
        async with transaction.savepoint():
            await transaction.run(INSERT, id="r_4")
    assert await scalar(database, "SELECT count(*) FROM sales") == 2


async def test_a_part_that_is_cut_off_is_undone_alone(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run(INSERT, id="r_0")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), transaction.savepoint():
                await transaction.run(INSERT, id="r_1")
                await asyncio.Event().wait()
        await transaction.run(INSERT, id="r_2")
    async with database.snapshot() as snapshot:
        assert await ids(snapshot) == ["r_0", "r_2"]


async def test_faults_are_what_sqlalchemy_says(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run(INSERT, id="r_1")
        with pytest.raises(IntegrityError):
            async with transaction.savepoint():
                await transaction.run(INSERT, id="r_1")
        with pytest.raises(IntegrityError):
            async with transaction.savepoint():
                await transaction.run_each(INSERT, [{"id": "r_2"}, {"id": "r_1"}])
        assert await ids(transaction) == ["r_1"]
        with pytest.raises((ProgrammingError, Misconfigured)):
            async with transaction.savepoint():
                await transaction.run("SELECT nothing FROM nowhere")
        assert await ids(transaction) == ["r_1"]


async def test_what_postgresql_cannot_take_is_the_datas_fault(postgres: Database) -> None:
    async with postgres.transaction() as transaction:
        for sql, given in (
            ("SELECT CAST(:a AS integer)", {"a": "no number"}),
            ("SELECT CAST(CAST(:a AS text) AS integer)", {"a": "no number"}),
            ("SELECT CAST(:a AS text)", {"a": "a\0b"}),
        ):
            with pytest.raises((DataError, DBAPIError)) as refused:
                async with transaction.savepoint():
                    await transaction.run(sql, **given)
            assert not isinstance(refused.value, Failure)
            assert "[parameters" not in str(refused.value)


async def test_a_connection_that_dies_within_a_savepoint_is_an_outage(postgres: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with postgres.transaction() as transaction:
            ((pid,),) = await transaction.run("SELECT pg_backend_pid()")
            async with transaction.savepoint():
                async with postgres.transaction() as other:
                    await other.run("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
                raise ValueError("the handler's own, which must not pass for undone")
    async with postgres.transaction() as transaction:
        await transaction.run(INSERT, id="r_1")
    assert await scalar(postgres, "SELECT count(*) FROM sales") == 1


async def test_a_statement_prepared_for_a_table_that_has_changed_is_worth_another_try(
    postgres: Database,
) -> None:
    question = "SELECT points FROM changing"
    async with postgres.transaction() as transaction:
        await transaction.run("DROP TABLE IF EXISTS changing")
        await transaction.run("CREATE TABLE changing (points integer)")
        await transaction.run("INSERT INTO changing VALUES (1)")
        assert await transaction.run(question) == [(1,)]
    async with postgres.transaction() as transaction:
        await transaction.run("ALTER TABLE changing ALTER COLUMN points TYPE text USING points::text")
    with pytest.raises(DatabaseUnavailable):
        async with postgres.transaction() as transaction:
            await transaction.run(question)
    async with postgres.transaction() as transaction:
        assert await transaction.run(question) == [("1",)]
        await transaction.run("DROP TABLE changing")
