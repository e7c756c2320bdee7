"""What reading the log from any place promises, asked of both logs."""

import asyncio
from pathlib import Path

import pytest

from broker import embedded_records
from broker.protocols import Bounds, History, Record
from events.failures import Failure
from tests.broker.conftest import Clients
from tests.broker.logs import PARTITIONS, EmbeddedLogs, Log, ends, joined, new_topics, place, read


async def append(clients: Clients, bodies: list[bytes], key: bytes = b"k") -> int:
    """Records of one key, each at a later time than the one before; returns their partition."""
    producer = await clients.producer()
    for body in bodies:
        partition, _ = await producer.append(clients.topics.events, body, key=key, headers=[("a", b"1")])
        await asyncio.sleep(0.005)
    return partition


async def whole(history: History, partition: int, at_a_time: int) -> list[Record]:
    records: list[Record] = []
    while more := await history.read(partition, records[-1].next_offset if records else 0, at_a_time):
        records += more
    return records


@pytest.mark.parametrize("at_a_time", [2, 500], ids=str)
async def test_a_partition_is_read_whole_and_to_its_end(clients: Clients, at_a_time: int) -> None:
    bodies = [b"%d" % number for number in range(7)]
    partition = await append(clients, bodies)
    history = await clients.history()
    assert await history.bounds() == {
        each: Bounds(0, 7 if each == partition else 0) for each in range(PARTITIONS)
    }
    records = await whole(history, partition, at_a_time)
    assert [record.value for record in records] == bodies
    assert [record.offset for record in records] == list(range(7))
    assert (records[0].key, list(records[0].headers)) == (b"k", [("a", b"1")])
    assert await history.read(partition, 7, 10) == []
    assert await history.read((partition + 1) % PARTITIONS, 0, 10) == []
    assert [record.offset for record in await history.read(partition, 5, 10)] == [5, 6]


async def test_partitions_are_read_in_turn_without_losing_the_place(clients: Clients) -> None:
    first = await append(clients, [b"1", b"2", b"3"])
    keys = (b"%d" % number for number in range(100))
    second = first
    while second == first:
        second = await append(clients, [b"other"], next(keys))
    history = await clients.history()
    assert [record.value for record in await history.read(first, 0, 1)] == [b"1"]
    assert (await history.read(second, 0, 1))[0].partition == second
    assert [record.value for record in await history.read(first, 1, 2)] == [b"2", b"3"]


async def test_a_time_is_the_first_record_at_it_or_later(clients: Clients) -> None:
    partition = await append(clients, [b"1", b"2", b"3"])
    history = await clients.history()
    times = [record.timestamp for record in await whole(history, partition, 10)]
    empty = dict.fromkeys(range(PARTITIONS), 0)
    for ms, offset in (
        (0, 0),
        (times[0], 0),
        (times[0] + 1, 1),
        (times[2], 2),
        (times[2] + 1, 3),
    ):
        assert await history.offsets_at(ms) == empty | {partition: offset}, ms


async def test_reading_history_disturbs_no_group(clients: Clients) -> None:
    partition = await append(clients, [b"1", b"2"])
    consumer = clients.consumer()
    epoch = await joined(consumer)
    await place(consumer)
    await consumer.commit(epoch, ends(await read(consumer, 2)))
    history = await clients.history()
    await whole(history, partition, 10)
    await history.stop()
    assert consumer.assignment().epoch == epoch
    admin = clients.log.admin()
    try:
        assert set((await admin.lag()).values()) == {0}
    finally:
        await admin.close()


async def test_a_history_without_a_topic_is_told(bare_log: Log) -> None:
    if isinstance(bare_log, EmbeddedLogs):
        return  # it makes its topics when it is opened
    history = bare_log.history()
    with pytest.raises(Failure, match="redemptions topics ensure"):
        await history.start()
    await history.stop()


async def test_what_retention_has_deleted_is_left_out(tmp_path: Path) -> None:
    clients = Clients(EmbeddedLogs(tmp_path / "log.db", new_topics(retention=1)))
    partition = await append(clients, [b"1", b"2", b"3"])
    history = await clients.history()
    log = history._log  # type: ignore[attr-defined]
    now = (await whole(history, partition, 10))[2].timestamp
    await log.write(
        lambda connection: embedded_records.trim(
            connection, clients.topics.events, before=now, for_readers=False
        )
    )
    assert (await history.bounds())[partition] == Bounds(2, 3)
    assert [record.value for record in await history.read(partition, 0, 10)] == [b"3"]
    await clients.stop()
