"""What a transaction promises whatever happens to it, on both databases."""

import asyncio
import gc

import pytest

from events.failures import Misconfigured, Unavailable
from events.runtime import SystemRuntime
from storage import connect as connecting
from storage.connect import connect
from storage.database import Database, Note, Oddity
from storage.rows import Rows
from tests.services.databases import prepared, scalar


async def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ValueError, match="no"):
        async with database.transaction() as transaction:
            await transaction.run("INSERT INTO sales (id) VALUES ('r_1')")
            raise ValueError("no")
    assert await scalar(database, "SELECT count(*) FROM sales") == 0


async def test_a_savepoint_that_is_undone_forgets_names_and_notes(database: Database) -> None:
    async with database.transaction() as transaction:
        with pytest.raises(ValueError, match="no"):
            async with transaction.savepoint():
                await transaction.learn(["new"])
                transaction.notes.append(lambda: [Note("default", "r_1", "+1")])
                transaction.oddities.append(Oddity("loyalty", "negative_base"))
                raise ValueError("no")
        assert transaction.names.find("new") is None
        assert (transaction.notes, transaction.oddities) == ([], [])
        await transaction.learn(["other", "new"])
        assert transaction.names.id("new") != transaction.names.id("other")


async def test_a_waiter_that_is_cancelled_holds_nobody_up(database: Database) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.transaction():
            entered.set()
            await leave.wait()

    async def queue() -> None:
        async with database.transaction() as transaction:
            await transaction.run("INSERT INTO sales (id) VALUES ('waiter')")

    holder = asyncio.create_task(hold())
    await entered.wait()
    waiters = [asyncio.create_task(queue()) for _ in range(3)]
    await asyncio.sleep(0)
    for waiter in waiters:
        waiter.cancel()
    leave.set()
    await asyncio.gather(holder, *waiters, return_exceptions=True)
    async with database.transaction() as transaction:
        await transaction.run("DELETE FROM sales")


@pytest.mark.parametrize("cancelled", [1, 2])
async def test_a_holder_that_is_cancelled_holds_nobody_up(database: Database, cancelled: int) -> None:
    """Wherever it is: connecting, beginning, in a statement, committing; also when it is cancelled again
    while it cleans up, and while somebody still looks at the error and so at its open cursors."""
    errors = []

    async def insert() -> None:
        async with database.transaction() as transaction:
            for number in range(3):
                await transaction.run("INSERT INTO sales (id) VALUES (:id) RETURNING id", id=f"r_{number}")

    gc.disable()
    try:
        for wait in range(0, 120, 2):
            task = asyncio.create_task(insert())
            for _ in range(wait):
                await asyncio.sleep(0)
            for _ in range(cancelled):
                task.cancel()
                await asyncio.sleep(0)
            errors += await asyncio.gather(task, return_exceptions=True)
            async with database.transaction() as transaction:
                await transaction.run("DELETE FROM sales")
                await transaction.run("INSERT INTO sales (id) VALUES ('after')")
            assert await scalar(database, "SELECT count(*) FROM sales") == 1
    finally:
        gc.enable()
    assert any(isinstance(error, asyncio.CancelledError) for error in errors)


async def test_a_snapshot_sees_one_moment(database: Database) -> None:
    async with database.snapshot() as snapshot:
        assert (await snapshot.run("SELECT count(*) FROM sales"))[0][0] == 0
        async with database.transaction() as transaction:
            await transaction.run("INSERT INTO sales (id) VALUES ('r_1')")
        assert (await snapshot.run("SELECT count(*) FROM sales"))[0][0] == 0
    assert await scalar(database, "SELECT count(*) FROM sales") == 1


@pytest.mark.postgres
async def test_a_snapshot_on_postgresql_refuses_to_write(postgres: Database) -> None:
    with pytest.raises(Unavailable, match="25006"):
        async with postgres.snapshot() as snapshot:
            await snapshot.run("INSERT INTO sales (id) VALUES ('r_1')")
    async with postgres.transaction() as transaction:  # the same connection, writing again
        await transaction.run("INSERT INTO sales (id) VALUES ('r_1')")


@pytest.mark.postgres
async def test_sessions_on_postgresql_cannot_hold_others_up_for_long(postgres: Database) -> None:
    names = [*connecting.POSTGRESQL_SETTINGS, "transaction_isolation"]
    async with postgres.transaction() as transaction:
        rows = await transaction.run(
            "SELECT name, setting, unit FROM pg_settings JOIN {rows} USING (name)",
            Rows({"name": "text"}, [(name,) for name in names]),
        )
    found = {row.name: f"{row.setting}{row.unit or ''}" for row in rows}
    assert found["idle_in_transaction_session_timeout"] == "15000ms"
    assert found["statement_timeout"] == "30000ms"
    assert found["lock_timeout"] == "10000ms"
    assert found["synchronous_commit"] == "on"
    assert found["transaction_isolation"] == "read committed"


async def test_sqlite_syncs_what_it_commits_and_lets_readers_be(sqlite: Database) -> None:
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("busy_timeout", 10_000)):
        assert await scalar(sqlite, f"PRAGMA {pragma}") == value


async def test_many_at_once_wait_for_a_connection(database: Database) -> None:
    async def insert(number: int) -> None:
        async with database.transaction() as transaction:
            await transaction.run("INSERT INTO sales (id) VALUES (:id)", id=f"r_{number}")

    await asyncio.gather(*(insert(number) for number in range(40)))
    assert await scalar(database, "SELECT count(*) FROM sales") == 40


@pytest.mark.postgres
async def test_a_pool_without_a_free_connection_is_an_outage(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "ENGINE", connecting.ENGINE | {"pool_size": 1, "pool_timeout": 0.05})
    async with prepared(shared_url) as database, database.snapshot():
        with pytest.raises(Unavailable, match="no database connection"):
            async with database.transaction():
                pass


async def test_errors_quote_no_parameters(database: Database) -> None:
    with pytest.raises(Exception) as caught:
        async with database.transaction() as transaction:
            for _ in range(2):
                await transaction.run("INSERT INTO sales (id) VALUES (:id)", id="anna@example.com")
    assert "anna" not in str(caught.value).splitlines()[0]
    assert "[SQL: INSERT" in str(caught.value) and "[parameters" not in str(caught.value)


async def test_a_wrong_url_is_our_fault() -> None:
    with pytest.raises(Misconfigured):
        connect("mysql://host/db", SystemRuntime())
    database = connect("postgresql://localhost/db?sslmode=never", SystemRuntime())
    with pytest.raises(Misconfigured, match="sslmode"):
        async with database.transaction():
            pass
    await database.close()


async def test_nobody_listening_is_an_outage(unused_tcp_port: int) -> None:
    database = connect(f"postgresql://u@127.0.0.1:{unused_tcp_port}/db", SystemRuntime())
    with pytest.raises(Unavailable):
        async with database.transaction():
            pass
    await database.close()


@pytest.mark.postgres
async def test_a_patient_snapshot_outlasts_what_ends_a_statement_of_the_workers(
    postgres: Database, shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connecting.POSTGRESQL_SETTINGS, "statement_timeout", "20ms")
    for patient in (False, True):
        database = connect(shared_url, SystemRuntime(), patient=patient)
        try:
            async with database.snapshot() as snapshot:
                await snapshot.run("SELECT pg_sleep(0.1)")
            assert patient
        except Unavailable:
            assert not patient
        finally:
            await database.close()


@pytest.mark.postgres
async def test_patience_is_for_reading_alone(postgres: Database, shared_url: str) -> None:
    database = connect(shared_url, SystemRuntime(), patient=True)
    try:
        async with database.snapshot() as snapshot:
            assert (await snapshot.run("SHOW statement_timeout"))[0][0] == "0"
        async with database.transaction() as transaction:
            assert (await transaction.run("SHOW statement_timeout"))[0][0] == "30s"
            assert (await transaction.run("SHOW idle_in_transaction_session_timeout"))[0][0] == "15s"
    finally:
        await database.close()
