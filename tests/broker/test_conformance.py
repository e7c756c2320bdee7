"""What every log promises, asked of both: whoever passes this can stand behind the protocols."""

import asyncio
import time

import pytest

from broker.protocols import Fenced, Record, TooLarge
from events.failures import Misconfigured
from tests.broker.conftest import Clients
from tests.broker.logs import PARTITIONS, Log, assigned, ends, joined, nothing, place, read

ALL_BYTES = bytes(range(256))
HEADERS = [("tenant", b"shop"), ("empty", b""), ("twice", b"1"), ("twice", ALL_BYTES), ("grüße", b"\0")]


async def test_a_record_comes_back_byte_for_byte(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    before = int(time.time() * 1000)
    partition, offset = await producer.append(
        clients.topics.events, ALL_BYTES * 20, key=ALL_BYTES, headers=HEADERS
    )
    await joined(consumer)
    await place(consumer)
    (record,) = await read(consumer, 1)
    assert (record.topic, record.partition, record.offset) == (clients.topics.events, partition, offset)
    assert (record.key, record.value) == (ALL_BYTES, ALL_BYTES * 20)
    assert list(record.headers) == HEADERS
    assert dict(record.headers).get("twice") == ALL_BYTES
    assert before <= record.timestamp <= int(time.time() * 1000)
    assert record.next_offset == offset + 1


async def test_a_record_may_have_neither_key_nor_headers_nor_content(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    await producer.append(clients.topics.events, b"", key=None, headers=[])
    await joined(consumer)
    await place(consumer)
    (record,) = await read(consumer, 1)
    assert (record.key, record.value, list(record.headers)) == (None, b"", [])


async def test_the_log_has_two_topics_that_do_not_mix(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    await producer.append(clients.topics.dead_letters, b"dead", key=b"k", headers=[])
    await producer.append(clients.topics.events, b"alive", key=b"k", headers=[])
    await joined(consumer)
    await place(consumer)
    assert [record.value for record in await read(consumer, 1)] == [b"alive"]


async def test_records_of_one_key_stay_in_one_partition_and_in_order(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    keys = [f"customer-{number}".encode() for number in range(20)]
    for number in range(200):
        await producer.append(clients.topics.events, b"%d" % number, key=keys[number % 20], headers=[])
    await joined(consumer)
    await place(consumer)
    records = await read(consumer, 200)
    assert len({record.partition for record in records}) > 1
    for key in keys:
        of_key = [record for record in records if record.key == key]
        assert len({record.partition for record in of_key}) == 1
        values = [int(record.value) for record in of_key]
        assert values == sorted(values)
        assert len(values) == 10


async def test_records_appended_at_the_same_time_all_come_back_once_in_order(clients: Clients) -> None:
    producers = [await clients.producer() for _ in range(2)]
    consumer = clients.consumer()
    places = await asyncio.gather(
        *(
            producers[number % 2].append(
                clients.topics.events, b"%d" % number, key=b"%d" % number, headers=[]
            )
            for number in range(500)
        )
    )
    assert len(set(places)) == 500
    await joined(consumer)
    await place(consumer)
    records = await read(consumer, 500, at_a_time=37)
    assert {(record.partition, record.offset): int(record.value) for record in records} == dict(
        zip(places, range(500), strict=True)
    )
    for partition in range(PARTITIONS):
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == list(range(len(offsets)))


async def test_a_partition_delivers_nothing_until_it_is_placed(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    for number in range(40):
        await producer.append(clients.topics.events, b"x", key=b"%d" % number, headers=[])
    epoch = await joined(consumer)
    assert await consumer.fetch(100, 0.3) == (epoch, [])
    consumer.seek(2, 0)
    records = await read(consumer, 1)
    assert {record.partition for record in records} == {2}


async def test_placing_again_reads_again(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    for number in range(10):
        await producer.append(clients.topics.events, b"%d" % number, key=b"k", headers=[])
    await joined(consumer)
    await place(consumer)
    first = await read(consumer, 10)
    consumer.seek(first[4].partition, first[4].offset)
    assert await read(consumer, 6) == first[4:]


async def test_a_fetch_returns_no_more_than_asked_for_and_the_next_goes_on(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    for number in range(10):
        await producer.append(clients.topics.events, b"%d" % number, key=b"k", headers=[])
    await joined(consumer)
    await place(consumer)
    first = await read(consumer, 1, at_a_time=3)
    assert len(first) <= 3
    rest = await read(consumer, 10 - len(first), at_a_time=3)
    assert [int(record.value) for record in first + rest] == list(range(10))


async def test_a_waiting_fetch_gets_what_is_appended_meanwhile(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    await joined(consumer)
    await place(consumer)
    waiting = asyncio.create_task(consumer.fetch(10, 60.0))
    await asyncio.sleep(0)
    await producer.append(clients.topics.events, b"new", key=b"k", headers=[])
    _, records = await waiting
    assert [record.value for record in records] == [b"new"]


async def test_a_full_partition_starves_no_other(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    full, _ = await producer.append(clients.topics.events, b"x", key=b"full", headers=[])
    await asyncio.gather(
        *(producer.append(clients.topics.events, b"x", key=b"full", headers=[]) for _ in range(2000))
    )
    others = [b"%d" % number for number in range(50)]
    placed = [(await producer.append(clients.topics.events, b"x", key=key, headers=[]))[0] for key in others]
    rare = next(partition for partition in placed if partition != full)
    await joined(consumer)
    await place(consumer)
    seen: list[int] = []
    while rare not in seen:
        seen += [record.partition for record in (await consumer.fetch(10, 1.0))[1]]
    assert len(seen) < 300


async def test_a_new_member_resumes_where_the_group_committed(clients: Clients) -> None:
    producer = await clients.producer()
    for number in range(10):
        await producer.append(clients.topics.events, b"%d" % number, key=b"k", headers=[])
    first = clients.consumer()
    epoch = await joined(first)
    assert set((await first.committed(range(PARTITIONS))).values()) == {None}
    await place(first)
    records = await read(first, 10)
    partition = records[0].partition
    await first.commit(epoch, ends(records[:4]))
    assert (await first.committed([partition])) == {partition: 4}
    await first.stop()
    second = clients.consumer()
    await joined(second)
    await place(second)
    assert [int(record.value) for record in await read(second, 6)] == [4, 5, 6, 7, 8, 9]


async def test_groups_do_not_see_each_others_commits(clients: Clients) -> None:
    producer = await clients.producer()
    await producer.append(clients.topics.events, b"x", key=b"k", headers=[])
    one, other = clients.consumer("one"), clients.consumer("other")
    epoch = await joined(one)
    await place(one)
    await one.commit(epoch, ends(await read(one, 1)))
    await joined(other)
    assert set((await other.committed(range(PARTITIONS))).values()) == {None}


async def test_the_second_member_gets_everything_when_the_first_leaves(clients: Clients) -> None:
    producer = await clients.producer()
    for number in range(20):
        await producer.append(clients.topics.events, b"x", key=b"%d" % number, headers=[])
    first, second = clients.consumer(), clients.consumer()
    epoch = await joined(first)
    await place(first)
    records = await read(first, 20)
    await first.commit(epoch, ends(records[:10]))
    await second.start(nothing)
    # Kafka hands the first a new epoch when it shares with the second: both keep asking, as workers do.
    stopping = asyncio.create_task(first.stop())
    await assigned(second)
    await stopping
    await place(second)
    assert {(r.partition, r.offset) for r in await read(second, 10)} >= {
        (r.partition, r.offset) for r in records[10:]
    }


async def test_commits_still_work_while_partitions_are_being_given_up(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    await producer.append(clients.topics.events, b"x", key=b"k", headers=[])
    drained: list[int] = []

    async def drain() -> None:
        await consumer.commit(epoch, ends(records))
        drained.append(consumer.assignment().epoch)

    epoch = await joined(consumer, on_revoked=drain)
    await place(consumer)
    records = await read(consumer, 1)
    await consumer.stop()
    assert drained == [epoch]
    successor = clients.consumer()
    await joined(successor)
    assert (await successor.committed([records[0].partition])) == ends(records)


async def test_a_commit_after_leaving_is_fenced(clients: Clients) -> None:
    consumer = clients.consumer()
    epoch = await joined(consumer)
    await consumer.stop()
    assert not consumer.assignment().partitions
    with pytest.raises(Fenced):
        await consumer.commit(epoch, {0: 0})


async def test_a_commit_of_another_epoch_is_fenced(clients: Clients) -> None:
    consumer = clients.consumer()
    epoch = await joined(consumer)
    for other in (epoch - 1, epoch + 1):
        with pytest.raises(Fenced):
            await consumer.commit(other, {0: 0})
    assert set((await consumer.committed(range(PARTITIONS))).values()) == {None}


async def test_bounds_tell_what_a_partition_holds(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    for _ in range(3):
        partition, _ = await producer.append(clients.topics.events, b"x", key=b"k", headers=[])
    await joined(consumer)
    bounds = await consumer.bounds(range(PARTITIONS))
    assert bounds.pop(partition) == (0, 3)
    assert set(bounds.values()) == {(0, 0)}


@pytest.mark.parametrize("offset", [4, 1_000_000])
async def test_an_offset_beyond_the_end_is_told_and_the_other_partitions_go_on(
    clients: Clients, offset: int
) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    lost, _ = await producer.append(clients.topics.events, b"x", key=b"lost", headers=[])
    await joined(consumer)
    await place(consumer)
    consumer.seek(lost, offset)
    with pytest.raises(Misconfigured, match=f"does not hold offset {offset}") as told:
        await read(consumer, 1)
    assert told.value.reason == "offset_out_of_range"
    others = [b"%d" % number for number in range(50)]
    placed = [(await producer.append(clients.topics.events, b"x", key=key, headers=[]))[0] for key in others]
    expected = sum(partition != lost for partition in placed)
    assert {record.partition for record in await read(consumer, expected)} == set(placed) - {lost}
    consumer.seek(lost, 0)
    assert (await read(consumer, 1))[0].partition == lost


async def test_the_end_itself_is_a_place(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    partition, offset = await producer.append(clients.topics.events, b"old", key=b"k", headers=[])
    await joined(consumer)
    consumer.seek(partition, offset + 1)
    await producer.append(clients.topics.events, b"new", key=b"k", headers=[])
    assert [record.value for record in await read(consumer, 1)] == [b"new"]


async def test_lag_counts_what_a_group_has_not_committed(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    admin = clients.log.admin()
    group = f"readers-{clients.topics.events}"
    for number in range(20):
        await producer.append(clients.topics.events, b"x", key=b"%d" % number, headers=[])
    epoch = await joined(consumer)
    await place(consumer)
    records = await read(consumer, 20)
    await consumer.commit(epoch, ends(records[:5]))
    committed = ends(records[:5])
    expected = 20 - sum(committed.values())
    assert await admin.lag() == {group: expected}
    assert await admin.lag([group, "never-seen"]) == {group: expected, "never-seen": 20}
    await consumer.commit(epoch, ends(records))
    assert await admin.lag() == {group: 0}
    await admin.close()


async def test_a_record_of_the_largest_size_passes_and_a_larger_one_is_told(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    body = ALL_BYTES * (clients.topics.max_body_bytes // 256)
    await producer.append(clients.topics.events, body, key=b"k" * 255, headers=HEADERS)
    with pytest.raises(TooLarge):
        await producer.append(clients.topics.events, body + b"x" * 65_536, key=b"k", headers=HEADERS)
    await producer.append(clients.topics.events, b"after", key=b"k" * 255, headers=[])
    await joined(consumer)
    await place(consumer)
    assert [record.value for record in await read(consumer, 2)] == [body, b"after"]


async def test_callers_that_give_up_do_not_break_the_producer(clients: Clients) -> None:
    producer, consumer = await clients.producer(), clients.consumer()
    for number in range(30):
        given_up = asyncio.create_task(
            producer.append(clients.topics.events, b"given up", key=b"%d" % number, headers=[])
        )
        for _ in range(number % 4):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait({given_up})
    kept = [
        (await producer.append(clients.topics.events, b"kept", key=b"%d" % n, headers=[])) for n in range(9)
    ]
    await joined(consumer)
    await place(consumer)
    records: list[Record] = []
    while sum(record.value == b"kept" for record in records) < 9:
        records += await read(consumer, 1)
    assert {(r.partition, r.offset) for r in records if r.value == b"kept"} == set(kept)


async def test_what_was_accepted_is_there_after_the_producer_stopped(clients: Clients) -> None:
    producer = clients.log.producer()
    await producer.start()
    appends = [
        asyncio.create_task(producer.append(clients.topics.events, b"x", key=b"%d" % n, headers=[]))
        for n in range(50)
    ]
    await asyncio.sleep(0)
    await producer.stop()
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    confirmed = {place for place in outcomes if not isinstance(place, BaseException)}
    consumer = clients.consumer()
    await joined(consumer)
    await place(consumer)
    found = {(r.partition, r.offset) for r in await read(consumer, len(confirmed))} if confirmed else set()
    assert found >= confirmed


async def test_topics_are_made_once(bare_log: Log) -> None:
    admin = bare_log.admin()
    assert len(await admin.check_topics()) >= 1
    assert len(await admin.ensure_topics()) == 2
    assert await admin.check_topics() == []
    await admin.ping()
    assert await admin.ensure_topics() == []
    assert await admin.lag() == {}
    await admin.close()


async def test_a_client_may_be_stopped_without_having_been_started_and_twice(clients: Clients) -> None:
    producer, consumer = clients.log.producer(), clients.consumer()
    await producer.stop()
    await consumer.stop()
    started = await clients.producer()
    await started.stop()
    await started.stop()
