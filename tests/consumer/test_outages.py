"""Real trouble with a real PostgreSQL in the middle of a batch: outages are waited out, data is isolated."""

import asyncio
from typing import Any

import pytest

from events.runtime import SystemRuntime
from storage import connect as connecting
from storage.connect import connect
from storage.database import Database, Transaction
from tests.consumer.bench import Bench, a_success, until
from tests.consumer.proxy import wire
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import prepared

pytestmark = pytest.mark.postgres


class Once:
    """Trouble for the first try, then none."""

    def __init__(self, *statements: str) -> None:
        self._statements = list(statements)
        self.tries = 0

    async def __call__(self, transaction: Transaction) -> None:
        self.tries += 1
        if self.tries == 1:
            for statement in self._statements:
                await transaction.run(statement)


@pytest.fixture
def bench(postgres: Database, log: ScriptedLog) -> Bench:
    return Bench(postgres, log)


@pytest.mark.parametrize(
    "statements",
    [
        ["SELECT pg_terminate_backend(pg_backend_pid())"],
        ["SET LOCAL statement_timeout = '10ms'", "SELECT pg_sleep(5)"],
        ["DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"],
        ["DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"],
        ["DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53200'; END $$"],
    ],
)
async def test_an_outage_inside_a_handler_is_no_events_fault(
    bench: Bench, log: ScriptedLog, statements: list[str]
) -> None:
    trouble = bench.shop.verdicts["r_2"] = Once(*statements)
    for number in range(1, 4):
        await log.append(TOPIC, a_success(f"r_{number}"))
    await bench.settle_all()
    assert trouble.tries == 2
    # Never split: the same batch again.
    assert bench.shop.batches == [["r_1", "r_2", "r_3"]] * 2
    assert await bench.letters() == []
    assert await bench.points() == 300


async def test_a_lock_that_somebody_holds_too_long_is_waited_for(
    bench: Bench, log: ScriptedLog, postgres: Database
) -> None:
    trouble = bench.shop.verdicts["r_1"] = Once("SET LOCAL lock_timeout = '10ms'", "LOCK TABLE sales")
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        async with postgres.transaction() as other:
            await other.run("LOCK TABLE sales IN SHARE ROW EXCLUSIVE MODE")
            await until(lambda: any("55P03" in reason for reason in bench.progress.ready()))
        await bench.until_idle()
    assert trouble.tries == 2
    assert await bench.letters() == []


async def test_a_deadlock_with_another_worker_is_nobodys_poison(postgres: Database) -> None:
    """Two handlers that lock in opposite order: PostgreSQL ends one of them, and it begins anew."""
    log = ScriptedLog()
    first, second = Bench(postgres, log), Bench(postgres, log)
    meet = asyncio.Barrier(2)
    tries = []

    def locking(*rows: str) -> Any:
        async def lock(transaction: Transaction) -> None:
            tries.append(rows)
            await transaction.run("SET LOCAL deadlock_timeout = '50ms'")
            await transaction.run("UPDATE sales SET id = id WHERE id = :id", id=rows[0])
            if len(tries) <= 2:
                await meet.wait()
            await transaction.run("UPDATE sales SET id = id WHERE id = :id", id=rows[1])

        return lock

    await log.append(TOPIC, a_success("r_0001"))
    await first.settle_all()  # the names are there: they are locked as well
    first = Bench(postgres, log)
    async with postgres.transaction() as transaction:
        await transaction.run("INSERT INTO sales (id) VALUES ('a'), ('b')")
    first.shop.verdicts["r_1"] = locking("a", "b")
    second.shop.verdicts["r_2"] = locking("b", "a")
    async with first.running(), second.running():
        first.consumer.assign([0])
        second.consumer.assign([1])
        await log.append(TOPIC, a_success("r_1"), partition=0)
        await log.append(TOPIC, a_success("r_2", customer="cust_2"), partition=1)
        await first.until_idle()
    assert len(tries) == 3
    assert await first.letters() == []
    assert (await first.points(), await first.points("cust_2")) == (200, 100)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sales (id) VALUES ('r_taken')",  # 23505
        "SELECT 1 / 0",  # 22012
        "INSERT INTO sales (id) SELECT string_agg(md5(CAST(n AS text)), '') "
        "FROM generate_series(1, 1000) AS n",  # 54000
        "SELECT CAST('x' AS integer)",  # 22P02
    ],
)
async def test_what_an_event_breaks_is_set_aside_alone(
    bench: Bench, log: ScriptedLog, statement: str
) -> None:
    async with bench.database.transaction() as transaction:
        await transaction.run("INSERT INTO sales (id) VALUES ('r_taken')")

    async def breaks(transaction: Transaction) -> None:
        await transaction.run(statement)

    bench.shop.verdicts["r_2"] = breaks
    for number in range(1, 6):
        await log.append(TOPIC, a_success(f"r_{number}"))
    await bench.settle_all()
    assert await bench.letters() == [("shop", "handler_error", "r_2", 0, 0, 2)]
    assert await bench.scalar("SELECT count(*) FROM sales") == 5
    assert await bench.points() == 500


@pytest.mark.parametrize("value", ["a\x00b", "\ud800", "x" * 2_000_000])
async def test_values_that_no_column_takes_are_no_outage(bench: Bench, log: ScriptedLog, value: str) -> None:
    async def stores(transaction: Transaction) -> None:
        # Random enough not to be compressed below what an index takes.
        await transaction.run(
            "INSERT INTO sales (id) SELECT CAST(:id AS text) || string_agg(md5(CAST(n AS text)), '') "
            "FROM generate_series(1, 1000) AS n",
            id=value,
        )

    bench.shop.verdicts["r_2"] = stores
    await log.append(TOPIC, a_success("r_1"))
    await log.append(TOPIC, a_success("r_2"))
    await bench.settle_all()
    assert await bench.letters() == [("shop", "handler_error", "r_2", 0, 0, 2)]
    assert await bench.points() == 200


async def test_nul_and_oversize_ids_in_a_payload_are_refusals_or_malformed_never_an_outage(
    bench: Bench, log: ScriptedLog
) -> None:
    for body in (
        a_success("r_1", customer="cust\x00"),
        a_success("r_2", customer="c" * 300),
        a_success("r_3", id="ord_\ud800"),
        a_success("r_\x00"),
        a_success("r" * 256),
        a_success("r_6"),
    ):
        await log.append(TOPIC, body)
    await bench.settle_all()
    reasons = [(handler, reason) for handler, reason, *_ in await bench.letters()]
    assert reasons.count((None, "unfit_id")) == 2
    assert {handler for handler, _ in reasons} <= {None, "loyalty"}
    assert await bench.points() == 100


async def test_a_missing_table_stops_the_intake_until_it_is_there(bench: Bench, log: ScriptedLog) -> None:
    async with bench.running():
        await until(lambda: bench.progress.ready() == [])
        async with bench.database.transaction() as transaction:
            await transaction.run("ALTER TABLE facts RENAME TO facts_gone")
        await log.append(TOPIC, a_success("r_1"))
        await until(lambda: any("redemptions db upgrade" in reason for reason in bench.progress.ready()))
        assert bench.progress.live() == []
        async with bench.database.transaction() as transaction:
            await transaction.run("ALTER TABLE facts_gone RENAME TO facts")
        await bench.until_idle()
        await until(lambda: bench.progress.ready() == [])
    assert await bench.points() == 100
    assert await bench.letters() == []


async def test_a_server_that_stops_in_the_middle_and_comes_back_is_waited_for(
    shared_url: str, postgres: Database, log: ScriptedLog
) -> None:
    stopped = asyncio.Event()

    async def stop_first(transaction: Transaction) -> None:
        if not stopped.is_set():
            stopped.set()
            await proxy.cut()

    async with wire(shared_url) as proxy, prepared(proxy.url) as database:
        bench = Bench(database, log)
        bench.shop.verdicts["r_2"] = stop_first
        async with bench.running():
            for number in range(1, 4):
                await log.append(TOPIC, a_success(f"r_{number}"))
            await until(lambda: any(reason.startswith("database") for reason in bench.progress.ready()))
            assert bench.progress.live() == []
            await proxy.mend()
            await bench.until_idle()
            await until(lambda: bench.progress.ready() == [])
        assert await bench.points() == 300
        assert await bench.letters() == []
        assert [len(batch) for batch in bench.shop.batches] == [3, 3]


async def test_a_server_that_falls_silent_is_no_events_fault(
    shared_url: str, postgres: Database, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "COMMAND_SECONDS", 0.5)

    async def fall_silent(transaction: Transaction) -> None:
        if len(bench.shop.batches) == 1:
            proxy.silent = True

    async with wire(shared_url) as proxy, prepared(proxy.url) as database:
        bench = Bench(database, log)
        bench.shop.verdicts["r_2"] = fall_silent
        async with bench.running():
            await until(lambda: bench.progress.ready() == [])
            for number in range(1, 4):
                await log.append(TOPIC, a_success(f"r_{number}"))
            await until(lambda: any(reason.startswith("database") for reason in bench.progress.ready()))
            proxy.silent = False
            await proxy.cut()
            await proxy.mend()
            await bench.until_idle()
        assert await bench.letters() == []
        assert await bench.points() == 300


async def test_a_frozen_worker_holds_nobody_up(
    shared_url: str, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, postgres: Database
) -> None:
    monkeypatch.setitem(connecting.POSTGRESQL_SETTINGS, "idle_in_transaction_session_timeout", "200ms")
    frozen, thaw = asyncio.Event(), asyncio.Event()

    async def freeze(transaction: Transaction) -> None:
        if not frozen.is_set():
            frozen.set()
            await thaw.wait()

    async with prepared(shared_url) as database:
        first, second = Bench(database, log, drain_seconds=0.05), Bench(postgres, log)
        first.shop.verdicts["r_1"] = freeze
        await log.append(TOPIC, a_success("r_1"), partition=0)
        async with first.running():
            await frozen.wait()
            await first.consumer.rebalance([1])
            await second.settle_all()  # the same redemption: it waits for the frozen one's locks
            assert await second.points() == 100
            thaw.set()
            await until(lambda: first.progress.ready() == [])
            await log.append(TOPIC, a_success("r_2"), partition=1)
            await until(lambda: log.committed.get(1) == 1)
        assert await second.points() == 200
        assert await second.rows("SELECT id FROM sales ORDER BY id") == [("r_1",), ("r_2",)]
        assert await second.letters() == []


async def test_a_refused_password_is_our_fault(shared_url: str) -> None:
    class Refusing:
        """Speaks just enough of PostgreSQL to refuse a password."""

        async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1024)
            fields = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0"
            writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
            writer.close()

    server = await asyncio.start_server(Refusing(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = connect(f"postgresql://u:p@127.0.0.1:{port}/db?sslmode=disable", SystemRuntime())
    with pytest.raises(Exception, match="28P01"):
        async with database.transaction():
            pass
    await database.close()
    server.close()
    await server.wait_closed()
