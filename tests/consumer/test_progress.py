"""The truth behind readiness and liveness, and the lag that is shown."""

import pytest

from consumer.progress import STUCK_SECONDS, Progress
from events.failures import Misconfigured, Unavailable
from tests.consumer.bench import Bench, Clock, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import FlakyDatabase


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(clock)


def test_a_step_that_never_ends_is_stuck(progress: Progress, clock: Clock) -> None:
    with progress.step("database"):
        assert progress.live() == []
        clock.ahead = STUCK_SECONDS + 1
        assert progress.live() == ["database: stuck"]
    assert progress.live() == []


@pytest.mark.parametrize("error", [Unavailable("x", "y"), Misconfigured("x", "y")])
def test_waiting_for_a_known_outage_is_no_reason_to_be_restarted(
    progress: Progress, clock: Clock, error: Exception
) -> None:
    for _ in range(3):
        with pytest.raises(type(error)), progress.step("database"):
            raise error
        clock.ahead += STUCK_SECONDS
    assert progress.live() == []


def test_a_step_that_keeps_failing_for_no_known_reason_counts_from_its_first_try(
    progress: Progress, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="bug"), progress.step("database"):
            raise ValueError("bug")
        clock.ahead += STUCK_SECONDS / 2
    assert progress.live() == ["database: stuck"]
    with progress.step("database"):
        pass
    assert progress.live() == []


def test_what_was_forgotten_neither_troubles_nor_sticks(progress: Progress, clock: Clock) -> None:
    progress.joined = True
    with pytest.raises(ValueError, match="bug"), progress.step("database"):
        raise ValueError("bug")
    progress.trouble("database", "unexpected ValueError")
    progress.forget("database")
    clock.ahead = STUCK_SECONDS + 1
    assert (progress.live(), progress.ready()) == ([], [])


def test_all_reasons_are_told(progress: Progress) -> None:
    progress.trouble("database", "down")
    progress.trouble("log", "down as well")
    assert progress.ready() == ["database: down", "log: down as well", "consumer group: not joined yet"]
    progress.joined = True
    progress.clear("database")
    progress.clear("log")
    assert progress.ready() == []


async def test_records_that_are_there_and_never_arrive_are_a_stall(bench: Bench, log: ScriptedLog) -> None:
    async with bench.running():
        await until(lambda: bench.consumer.started == {0: 0, 1: 0})
        bench.consumer.hides = True
        await log.append(TOPIC, a_success("r_1"), partition=0)
        await until(lambda: bool(bench.progress._stalled))
        assert bench.progress.live() == []
        bench.clock.ahead = STUCK_SECONDS + 1
        assert "partition 0: stuck" in bench.progress.live()
        bench.consumer.hides = False
        await bench.until_idle()
        await until(lambda: bench.progress.live() == [])


async def test_records_that_wait_for_a_log_that_is_away_are_no_stall(bench: Bench, log: ScriptedLog) -> None:
    async with bench.running():
        await until(lambda: bench.consumer.started == {0: 0, 1: 0})
        bench.consumer.hides = True
        await log.append(TOPIC, a_success("r_1"), partition=0)
        await until(lambda: bool(bench.progress._stalled))
        bench.consumer.fails["bounds"] = bench.consumer.fails["fetch"] = Unavailable("down", "down")
        await until(lambda: bench.progress._stalled == {})
        bench.consumer.fails.clear()
        bench.consumer.hides = False


async def test_records_behind_a_batch_that_waits_for_the_database_are_no_stall(
    flaky: FlakyDatabase, log: ScriptedLog
) -> None:
    bench = Bench(flaky, log, max_records=1)
    async with bench.running():
        await until(lambda: bench.consumer.fetching == 1)  # else the first would not be fetched any more
        flaky.down = True
        for number in range(3):
            await log.append(TOPIC, a_success(f"r_{number}"), partition=0)
        await until(lambda: any(reason.startswith("database") for reason in bench.progress.ready()))
        looks = bench.consumer.calls.count("bounds")
        await until(lambda: bench.consumer.calls.count("bounds") > looks + 2)
        assert bench.progress._stalled == {}
        flaky.down = False
        await bench.until_idle()


async def test_the_lag_is_what_is_not_settled_and_only_of_partitions_held(
    bench: Bench, log: ScriptedLog
) -> None:
    async with bench.running():
        await until(lambda: bench.metric("lag_records", partition="1") == 0)
        bench.consumer.hides = True
        for number in range(1, 4):
            await log.append(TOPIC, a_success(f"r_{number}"), partition=1)
        await until(lambda: bench.metric("lag_records", partition="1") == 3)
        bench.consumer.hides = False
        log.arrived.set()
        await until(lambda: bench.metric("lag_records", partition="1") == 0)
        await bench.consumer.rebalance([0])
        await until(lambda: bench.metric("lag_records", partition="1") is None)
        await until(lambda: bench.metric("lag_records", partition="0") == 0)
