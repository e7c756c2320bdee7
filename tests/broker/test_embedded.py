"""What only a log in a file can do to us: dead processes, full and locked disks, wrong files, retention."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from broker import embedded_store
from broker.embedded import EmbeddedConsumer, EmbeddedProducer
from broker.embedded_admin import EmbeddedAdmin
from broker.embedded_log import EmbeddedLog
from broker.protocols import Bounds
from events.failures import Failure, Misconfigured, Unavailable
from events.runtime import SystemRuntime
from tests.broker.logs import PARTITIONS, ends, joined, new_topics, nothing, place, read

DAY = 24 * 3600.0


class Clock(SystemRuntime):
    """A wall clock moved by hand."""

    def __init__(self) -> None:
        self.time = 1_750_000_000.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> EmbeddedLog:
    return EmbeddedLog(tmp_path / "log.db", new_topics(retention=30 * DAY), clock)


@pytest.fixture
async def producer(log: EmbeddedLog) -> AsyncIterator[EmbeddedProducer]:
    producer = EmbeddedProducer(log)
    await producer.start()
    yield producer
    await producer.stop()


@pytest.fixture
async def consumer(log: EmbeddedLog) -> AsyncIterator[EmbeddedConsumer]:
    consumer = EmbeddedConsumer(log, "readers")
    yield consumer
    await consumer.stop()


@contextlib.contextmanager
def child(task: str, log: EmbeddedLog) -> Iterator["subprocess.Popen[str]"]:
    """A process that does `task` on the log; killed without a goodbye at the end."""
    command = [sys.executable, "-m", "tests.broker.child", task, str(log.path), log.topics.events]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return await asyncio.to_thread(process.stdout.readline)


async def test_a_confirmed_record_outlives_the_process_that_appended_it(
    log: EmbeddedLog, consumer: EmbeddedConsumer
) -> None:
    with child("append", log) as process:
        for _ in range(20):
            await line(process)
        process.kill()
        assert process.stdout
        confirmed = [tuple(map(int, rest.split())) for rest in process.stdout.read().splitlines()]
    await joined(consumer)
    await place(consumer)
    records = await read(consumer, 20 + len(confirmed))
    held = {(record.partition, record.offset, int(record.value)) for record in records}
    assert held >= set(confirmed)
    assert [int(record.value) for record in records] == list(range(len(records)))


async def test_what_another_process_appends_is_read_while_it_runs(
    log: EmbeddedLog, consumer: EmbeddedConsumer
) -> None:
    await joined(consumer)
    await place(consumer)
    with child("append", log) as process:
        await line(process)
        assert [int(record.value) for record in await read(consumer, 50)][:50] == list(range(50))


async def test_two_processes_append_at_the_same_time(
    log: EmbeddedLog, producer: EmbeddedProducer, consumer: EmbeddedConsumer
) -> None:
    await joined(consumer)
    await place(consumer)
    with child("append", log) as process:
        await line(process)
        ours = [await producer.append(log.topics.events, b"ours", key=b"k", headers=[]) for _ in range(30)]
        await line(process)
    records = await read(consumer, 32)
    assert len({(record.partition, record.offset) for record in records}) == len(records)
    assert {(r.partition, r.offset) for r in records if r.value == b"ours"} <= set(ours)


async def test_the_next_takes_over_when_the_groups_process_is_killed(
    log: EmbeddedLog, consumer: EmbeddedConsumer
) -> None:
    with child("hold", log) as process:
        assert await line(process) == "holding\n"
        await consumer.start(nothing)
        assert not consumer.assignment().partitions
        assert consumer.assignment().joined
        assert (await consumer.fetch(1, 0.3))[1] == []
        assert not consumer.assignment().partitions
        process.kill()
    while len(consumer.assignment().partitions) < PARTITIONS:
        await consumer.fetch(1, 0.05)


async def test_another_group_does_not_stand_by(log: EmbeddedLog, consumer: EmbeddedConsumer) -> None:
    other = EmbeddedConsumer(log, "others/../of a strange name")
    await joined(consumer)
    await joined(other)
    await other.stop()


async def test_retention_deletes_what_is_old_and_read(
    log: EmbeddedLog, clock: Clock, producer: EmbeddedProducer, consumer: EmbeddedConsumer
) -> None:
    epoch = await joined(consumer)
    await place(consumer)
    for _ in range(3):
        await producer.append(log.topics.events, b"old", key=b"k", headers=[])
    clock.time += 31 * DAY
    partition, _ = await producer.append(log.topics.events, b"new", key=b"k", headers=[])
    await log.trim()
    assert (await consumer.bounds([partition]))[partition] == Bounds(0, 4)  # read by nobody yet
    records = await read(consumer, 4)
    await consumer.commit(epoch, ends(records[:2]))
    await log.trim()
    assert (await consumer.bounds([partition]))[partition] == Bounds(2, 4)
    await consumer.commit(epoch, ends(records))
    await log.trim()
    assert (await consumer.bounds([partition]))[partition] == Bounds(3, 4)
    consumer.seek(partition, 3)
    assert [record.value for record in await read(consumer, 1)] == [b"new"]
    consumer.seek(partition, 2)
    with pytest.raises(Misconfigured, match="does not hold offset 2"):
        await consumer.fetch(1, 1.0)


async def test_retention_waits_for_every_group_and_for_the_first_one(
    log: EmbeddedLog, clock: Clock, producer: EmbeddedProducer, consumer: EmbeddedConsumer
) -> None:
    partition, _ = await producer.append(log.topics.events, b"old", key=b"k", headers=[])
    clock.time += 31 * DAY
    await log.trim()
    epoch = await joined(consumer)
    await place(consumer)
    slow = EmbeddedConsumer(log, "slow")
    await joined(slow)
    await slow.stop()
    await consumer.commit(epoch, ends(await read(consumer, 1)))
    await log.trim()
    assert (await consumer.bounds([partition]))[partition] == Bounds(0, 1)


async def test_retention_leaves_no_hole_when_the_clock_was_set_back(
    log: EmbeddedLog, clock: Clock, producer: EmbeddedProducer, consumer: EmbeddedConsumer
) -> None:
    epoch = await joined(consumer)
    await place(consumer)
    await producer.append(log.topics.events, b"young", key=b"k", headers=[])
    clock.time -= 40 * DAY
    partition, _ = await producer.append(log.topics.events, b"old", key=b"k", headers=[])
    clock.time += 40 * DAY
    await consumer.commit(epoch, ends(await read(consumer, 2)))
    await log.trim()
    assert (await consumer.bounds([partition]))[partition] == Bounds(0, 2)


async def test_dead_letters_are_deleted_by_age_alone(
    log: EmbeddedLog, clock: Clock, producer: EmbeddedProducer
) -> None:
    await producer.append(log.topics.dead_letters, b"old", key=b"k", headers=[])
    clock.time += 31 * DAY
    await log.trim()
    assert _count(log, "records") == 0


async def test_a_full_disk_is_waited_for(log: EmbeddedLog, producer: EmbeddedProducer) -> None:
    def limit(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    # Set on the writer's own connection, outside of a transaction, as it would be ignored inside one.
    writer = log._writer
    await writer._in_thread(lambda: limit(writer._open_connection(), 1))
    with pytest.raises(Unavailable, match="full"):
        await producer.append(log.topics.events, b"x" * 1_000_000, key=b"k", headers=[])
    await writer._in_thread(lambda: limit(writer._open_connection(), 1_000_000))
    _, offset = await producer.append(log.topics.events, b"fits", key=b"k", headers=[])
    assert offset == 0
    assert _count(log, "records") == 1


async def test_a_locked_file_is_waited_for(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_store, "BUSY_SECONDS", 0.1)
    producer = EmbeddedProducer(log)
    await producer.start()
    with contextlib.closing(sqlite3.connect(log.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await producer.append(log.topics.events, b"x", key=b"k", headers=[])
        assert await EmbeddedAdmin(log).lag(["g"]) == {"g": 0}  # who reads does not wait for who writes
        other.execute("ROLLBACK")
    await producer.append(log.topics.events, b"x", key=b"k", headers=[])
    await producer.stop()


async def test_a_caller_that_gave_up_before_the_commit_leaves_nothing(
    log: EmbeddedLog, producer: EmbeddedProducer
) -> None:
    with contextlib.closing(sqlite3.connect(log.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(producer.append(log.topics.events, b"1", key=b"k", headers=[]))
        while log._writer._waiting:  # noqa: ASYNC110 - until the writer took the first and waits for the lock
            await asyncio.sleep(0)
        second = asyncio.create_task(producer.append(log.topics.events, b"2", key=b"k", headers=[]))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
        other.execute("ROLLBACK")
    await first
    await producer.append(log.topics.events, b"3", key=b"k", headers=[])
    assert _count(log, "records") == 2


@pytest.mark.parametrize("content", [b"this is not a database" * 100, None])
async def test_a_file_that_is_not_our_log_is_told(log: EmbeddedLog, content: bytes | None) -> None:
    if content is None:
        with contextlib.closing(sqlite3.connect(log.path)) as foreign:
            foreign.execute("CREATE TABLE something (else_ INTEGER)")
    else:
        log.path.write_bytes(content)
    before = log.path.read_bytes()
    for start in (EmbeddedProducer(log).start(), EmbeddedConsumer(log, "g").start(nothing)):
        with pytest.raises(Misconfigured, match=r"Cannot use .*log\.db as the log"):
            await start
    with pytest.raises(Misconfigured):
        await EmbeddedAdmin(log).lag()
    assert before[:100] == log.path.read_bytes()[:100] or content is None


async def test_a_log_whose_pages_are_damaged_is_told(log: EmbeddedLog) -> None:
    producer = EmbeddedProducer(log)
    await producer.start()
    for number in range(200):
        await producer.append(log.topics.events, b"x" * 3000, key=b"%d" % number, headers=[])
    await producer.stop()
    with log.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (log.path.stat().st_size - 4096))
    with pytest.raises(Misconfigured, match="Cannot use"):
        await EmbeddedConsumer(log, "g").start(nothing)


async def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    log = EmbeddedLog(tmp_path / "file" / "log.db", new_topics(), SystemRuntime())
    for start in (EmbeddedProducer(log).start(), EmbeddedConsumer(log, "g").start(nothing)):
        with pytest.raises(Misconfigured, match="Cannot use"):
            await start


async def test_the_directory_is_made_and_the_log_opens_again(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path / "new" / "deep" / "log.db", new_topics(), SystemRuntime())
    for offset in range(2):
        producer = EmbeddedProducer(log)
        await producer.start()
        assert (await producer.append(log.topics.events, b"x", key=b"k", headers=[]))[1] == offset
        await producer.stop()


async def test_a_stopped_producer_says_so(log: EmbeddedLog) -> None:
    producer = EmbeddedProducer(log)
    await producer.start()
    await producer.stop()
    with pytest.raises(Unavailable):
        await producer.append(log.topics.events, b"x", key=b"k", headers=[])


async def test_appends_that_arrive_together_share_a_commit(
    log: EmbeddedLog, producer: EmbeddedProducer
) -> None:
    commits = 0

    def count() -> None:
        nonlocal commits
        commits += 1

    log._writer._on_commit = count
    await asyncio.gather(
        *(producer.append(log.topics.events, b"x", key=b"%d" % n, headers=[]) for n in range(500))
    )
    assert commits < 50


async def test_a_log_of_fewer_partitions_is_told_and_used(log: EmbeddedLog, tmp_path: Path) -> None:
    small = EmbeddedLog(log.path, new_topics(events=log.topics.events, partitions=2), SystemRuntime())
    await EmbeddedAdmin(small).ensure_topics()
    done = await EmbeddedAdmin(log).ensure_topics()
    assert any("left" in told and "2 partitions" in told for told in done)
    consumer = EmbeddedConsumer(log, "g")
    await joined(consumer, 2)
    await consumer.stop()


async def test_a_log_that_is_not_there_has_no_lag_and_is_not_made_by_asking(log: EmbeddedLog) -> None:
    admin = EmbeddedAdmin(log)
    assert await admin.lag() == {}
    assert await admin.lag(["g"]) == {"g": 0}
    assert len(await admin.check_topics()) == 1
    assert not log.path.exists()


def _count(log: EmbeddedLog, table: str) -> int:
    with contextlib.closing(sqlite3.connect(log.path)) as connection:
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return int(rows)


def test_a_key_keeps_its_partition_from_release_to_release() -> None:
    from broker.embedded_records import partition_of

    assert [partition_of(key, 12) for key in (b"cust_1", b"cust_2", b"ord_1")] == [11, 1, 3]


def test_errors_of_the_disk_are_told_apart() -> None:
    full, corrupt = sqlite3.OperationalError("full"), sqlite3.DatabaseError("malformed")
    full.sqlite_errorcode, corrupt.sqlite_errorcode = sqlite3.SQLITE_FULL, sqlite3.SQLITE_CORRUPT
    kinds: list[type[Failure]] = [
        type(embedded_store.failure_of(error, Path("log.db"))) for error in (full, corrupt, OSError("no"))
    ]
    assert kinds == [Unavailable, Misconfigured, Misconfigured]
