"""Where a worker begins to read: never past what the database knows, never silently past what was lost."""

import pytest

from broker.protocols import Bounds
from consumer.placement import start_of
from events.failures import Misconfigured
from tests.consumer.bench import Bench, a_rollback, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import backed_up, restore


@pytest.mark.parametrize(
    ("stored", "committed", "start"),
    [
        (None, None, 3),  # a new group: from the beginning
        (None, 7, 3),  # a new database: it has to learn everything
        (5, None, 5),  # the log forgot the group's offsets
        (5, 7, 5),  # a restored database, or a crash between the commits
        (7, 5, 5),  # the log's offset lags behind
        (7, 1, 3),  # far behind: what is gone was stored
        (3, 3, 3),
        (9, 9, 9),
    ],
)
def test_the_smaller_of_position_and_offset_counts(stored: int | None, committed: int, start: int) -> None:
    assert start_of(stored, committed, Bounds(3, 9)) == start


@pytest.mark.parametrize(
    ("stored", "reason"),
    [(10, "position_beyond_log"), (2, "records_lost")],
)
def test_a_place_that_the_log_does_not_hold_is_refused(stored: int, reason: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        start_of(stored, 9, Bounds(3, 9))
    assert refused.value.reason == reason


async def test_a_restored_database_catches_up_and_the_balances_are_right(
    bench: Bench, log: ScriptedLog
) -> None:
    await log.append(TOPIC, a_success("r_1"), partition=0)
    await bench.settle_all()
    backup = await backed_up(bench.database)
    await log.append(TOPIC, a_success("r_2"), partition=0)
    await log.append(TOPIC, a_rollback("r_1"), partition=1)
    await log.append(TOPIC, b"rubbish", partition=1)
    await (second := Bench(bench.database, log)).settle_all()
    assert (await second.points(), log.committed) == (100, {0: 2, 1: 2})
    await restore(bench.database, backup)
    assert await second.points() == 100
    third = Bench(bench.database, log)
    await log.append(TOPIC, a_success("r_3"), partition=0)
    await third.settle_all()
    assert third.consumer.started == {0: 1, 1: 0}
    assert await third.points() == 200
    assert await third.rows("SELECT id FROM sales ORDER BY id") == [("r_1",), ("r_2",), ("r_3",)]
    assert len(await third.letters()) == 1


@pytest.mark.parametrize("traffic", [True, False])
async def test_a_database_restored_under_a_running_worker_catches_up(
    bench: Bench, log: ScriptedLog, traffic: bool
) -> None:
    await log.append(TOPIC, a_success("r_1"), partition=0)
    async with bench.running():
        await bench.until_idle()
        backup = await backed_up(bench.database)
        await log.append(TOPIC, a_success("r_2"), partition=0)
        await log.append(TOPIC, a_success("r_3"), partition=1)
        await bench.until_idle()
        await restore(bench.database, backup)
        if traffic:
            await log.append(TOPIC, a_success("r_4"), partition=0)
        expected = [(f"r_{number}",) for number in range(1, 5 if traffic else 4)]

        async def caught_up() -> bool:
            return await bench.rows("SELECT id FROM sales ORDER BY id") == expected

        await until(caught_up)
        await bench.until_idle()
    assert await bench.points() == 100 * len(expected)


async def lost(bench: Bench, next_offset: int) -> None:
    async with bench.database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO positions VALUES (:group, :topic, 0, :next) "
            "ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET next_offset = :next",
            group="redemptions",
            topic=TOPIC,
            next=next_offset,
        )


async def test_a_position_beyond_the_log_stops_that_partition_and_no_other(
    bench: Bench, log: ScriptedLog
) -> None:
    await lost(bench, 5)
    await log.append(TOPIC, a_success("r_1"), partition=0)
    await log.append(TOPIC, a_success("r_2"), partition=1)
    async with bench.running():
        await until(lambda: log.committed == {1: 1})
        (reason,) = bench.progress.ready()
        assert reason.startswith("partition 0: ")
        assert bench.progress.live() == []
        # An operator mends it: it goes on by itself.
        async with bench.database.transaction() as transaction:
            await transaction.run("UPDATE positions SET next_offset = 0 WHERE partition = 0")
        await bench.until_idle()
        await until(lambda: bench.progress.ready() == [])
    assert await bench.points() == 200


async def test_a_halted_partition_that_goes_elsewhere_troubles_us_no_more(
    bench: Bench, log: ScriptedLog
) -> None:
    await lost(bench, 5)
    async with bench.running():
        await until(lambda: bench.progress.ready() != [] and bench.consumer.started == {1: 0})
        await bench.consumer.rebalance([1])
        await until(lambda: bench.progress.ready() == [])


async def test_records_that_retention_took_unread_stop_that_partition(bench: Bench, log: ScriptedLog) -> None:
    for number in range(1, 4):
        await log.append(TOPIC, a_success(f"r_{number}"), partition=0)
    await log.append(TOPIC, a_success("r_9"), partition=1)
    await lost(bench, 1)
    log.starts[0] = 2
    async with bench.running():
        await until(lambda: log.committed == {1: 1})
        assert "records 1 to 1 were deleted" in bench.progress.ready()[0]
    assert await bench.points() == 100


async def test_records_that_retention_takes_while_we_read_stop_that_partition_alone(
    bench: Bench, log: ScriptedLog
) -> None:
    async with bench.running():
        await until(lambda: bench.consumer.started == {0: 0, 1: 0})
        bench.consumer.hides = True
        for number in range(1, 4):
            await log.append(TOPIC, a_success(f"r_{number}"), partition=0)
        await lost(bench, 0)
        log.starts[0] = 2
        bench.consumer.hides = False
        await log.append(TOPIC, a_success("r_9"), partition=1)
        await until(lambda: log.committed == {1: 1})
        await until(lambda: any("were deleted" in reason for reason in bench.progress.ready()))
    assert await bench.points() == 100


async def test_a_partition_gained_later_starts_at_its_own_place(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, a_success("r_1"), partition=0)
    await log.append(TOPIC, a_success("r_2"), partition=1)
    async with bench.running():
        await bench.consumer.rebalance([0])
        await until(lambda: bench.log.committed.get(0) == 1)
        await bench.consumer.rebalance([0, 1])
        await bench.until_idle()
    assert await bench.points() == 200
    assert bench.shop.batches in ([["r_1"], ["r_2"]], [["r_1", "r_2"]])


async def test_nothing_is_ready_before_the_positions_were_read(bench: Bench, log: ScriptedLog) -> None:
    assert bench.progress.ready() == ["consumer group: not joined yet"]
    bench.consumer.fails["committed"] = RuntimeError("not yet")
    async with bench.running():
        await until(lambda: "committed" in bench.consumer.calls)
        assert "consumer group: not joined yet" in bench.progress.ready()
        bench.consumer.fails.clear()
        await until(lambda: bench.progress.ready() == [])
        await bench.consumer.rebalance([])  # joined, and without a partition: ready all the same
        await until(lambda: bench.consumer.assignment().epoch == 2)
        assert bench.progress.ready() == []


async def test_records_that_came_to_an_empty_partition_and_were_deleted_unread_are_missed(
    bench: Bench, log: ScriptedLog
) -> None:
    async with bench.running():
        await until(lambda: bench.consumer.started == {0: 0, 1: 0})
    for number in range(3):
        await log.append(TOPIC, a_success(f"r_{number}"), partition=0)
    log.starts[0] = 2
    again = Bench(bench.database, log)
    async with again.running():
        await until(lambda: "partition 0: records 0 to 1 were deleted" in str(again.progress.ready()))
        async with again.database.transaction() as transaction:  # an operator accepts the gap
            await transaction.run("DELETE FROM positions WHERE partition = 0")
        await until(lambda: log.committed.get(0) == 3)
        await until(lambda: again.progress.ready() == [])
    assert again.consumer.started == {0: 2, 1: 0}
    assert await again.points() == 100


async def test_what_was_gone_before_a_group_began_is_no_gap(bench: Bench, log: ScriptedLog) -> None:
    for number in range(3):
        await log.append(TOPIC, a_success(f"r_{number}"), partition=0)
    log.starts[0] = 2
    await bench.settle_all()
    assert await bench.points() == 100
    again = Bench(bench.database, log)
    await again.settle_all()
    assert again.progress.ready() == []
