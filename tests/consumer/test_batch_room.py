"""A batch is bounded in bytes, however large the bodies."""

import pytest

from broker.protocols import Record
from consumer.batch_room import BATCH_BYTES, TAKEN_AT_ONCE, BatchRoom
from storage.database import Database
from tests.consumer.bench import Bench, a_success
from tests.consumer.scripted import TOPIC, ScriptedLog

MIB = 2**20


def records(count: int, size: int) -> list[Record]:
    return [Record("t", 0, offset, 0, None, b"x" * size, ()) for offset in range(count)]


def batch(room: BatchRoom, size: int) -> int:
    """How many records of that size come into one."""
    room.begin()
    count = 0
    while most := room.next:
        room.took(records(most, size))
        count += most
    return count


def test_small_bodies_are_counted() -> None:
    assert batch(BatchRoom(2000), 100) == 2000


@pytest.mark.parametrize("max_records", [1, 7, 99, 101])
def test_never_more_records_than_asked_for(max_records: int) -> None:
    assert batch(BatchRoom(max_records), 100) == max_records


def test_large_bodies_are_weighed() -> None:
    room = BatchRoom(2000)
    batch(room, 2 * MIB)
    assert batch(room, 2 * MIB) == BATCH_BYTES // (2 * MIB)


def test_a_body_larger_than_a_batch_comes_alone() -> None:
    room = BatchRoom(2000)
    batch(room, BATCH_BYTES + 1)
    assert batch(room, BATCH_BYTES + 1) == 1


def test_after_small_bodies_a_take_of_large_ones_is_bounded() -> None:
    room = BatchRoom(2000)
    batch(room, 100)
    room.begin()
    assert room.next == TAKEN_AT_ONCE
    room.took(records(TAKEN_AT_ONCE, MIB))
    assert room.next == 0


def test_empty_bodies_are_counted() -> None:
    assert batch(BatchRoom(2000), 0) == 2000


async def test_a_worker_settles_large_bodies_few_at_a_time(database: Database, log: ScriptedLog) -> None:
    bench = Bench(database, log)
    for number in range(1, 131):
        await log.append(TOPIC, a_success(f"r_{number}", note="x" * (MIB // 4)))
    await bench.settle_all()
    sizes = [len(one) for one in bench.shop.batches]
    assert sum(sizes) == 130
    assert all(size * MIB // 4 <= BATCH_BYTES + MIB for size in sizes)
