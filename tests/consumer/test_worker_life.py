"""A worker's life: it restarts, is killed, rebalanced and stopped, and repeats and loses nothing."""

import asyncio
from typing import Any

import pytest

from events.failures import Misconfigured, Unavailable
from storage.database import Database, Transaction
from tests.consumer.bench import Bench, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import FlakyDatabase


@pytest.fixture
def bench(flaky: FlakyDatabase, log: ScriptedLog) -> Bench:
    return Bench(flaky, log)


class Held:
    """Holds a transaction of the shop's until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, transaction: Transaction) -> None:
        self.entered.set()
        await self.go.wait()


async def test_a_restarted_worker_goes_on_where_the_last_one_was(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    await log.append(TOPIC, a_success("r_2"))
    second = Bench(bench.database, log)
    await second.settle_all()
    assert second.shop.batches == [["r_2"]]
    assert second.consumer.started == {0: 1, 1: 0}
    assert await second.points() == 200


async def killed_before_its_commit(bench: Bench) -> None:
    """Settle what is in the log, and end before the log hears of it."""
    bench.consumer.fails["commit"] = Unavailable("down", "the log takes no commits")

    async def settled() -> bool:
        return len(await bench.letters()) == 1 and not await bench.pending()

    async with bench.killed_at_the_end():
        await until(settled)


async def test_a_kill_between_the_commits_repeats_nothing(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    await log.append(TOPIC, a_success("r_2"))
    await log.append(TOPIC, b"rubbish")
    await killed_before_its_commit(second := Bench(bench.database, log))
    assert log.committed == {0: 1}
    third = Bench(bench.database, log)
    await third.settle_all()
    assert third.consumer.started == {0: 1, 1: 0}
    assert len(third.told.outcomes) == 2
    assert (await third.points(), third.shop.batches, third.caller.calls) == (200, [], [])
    assert len(await third.letters()) == 1
    assert second.shop.batches == [["r_2"]]


async def test_a_kill_before_the_first_commit_leaves_no_lag_behind(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, a_success("r_1"))
    await log.append(TOPIC, b"rubbish")
    await killed_before_its_commit(bench)
    assert log.committed == {}
    second = Bench(bench.database, log)
    await second.settle_all()
    assert log.committed == {0: 2, 1: 0}
    assert second.told.outcomes == []


async def test_a_batch_whose_commit_was_not_answered_is_settled_once(
    bench: Bench, flaky: FlakyDatabase, log: ScriptedLog
) -> None:
    flaky.lost_answers = 3
    await log.append(TOPIC, a_success("r_1"))
    await log.append(TOPIC, b"rubbish")
    await bench.settle_all()
    assert flaky.lost_answers == 0
    assert await bench.points() == 100
    assert await bench.rows("SELECT id FROM sales") == [("r_1",)]
    assert len(await bench.letters()) == 1


async def test_a_commit_that_fails_is_tried_again_although_nothing_new_comes(
    bench: Bench, log: ScriptedLog
) -> None:
    bench.consumer.fails["commit"] = Unavailable("down", "the log takes no commits")
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: bench.consumer.calls.count("commit") > 2)
        assert any("offset commit" in reason for reason in bench.progress.ready())
        del bench.consumer.fails["commit"]
        await until(lambda: log.committed == {0: 1})
        await until(lambda: bench.progress.ready() == [])


async def test_an_unexpected_commit_error_does_not_end_the_worker(bench: Bench, log: ScriptedLog) -> None:
    bench.consumer.fails["commit"] = RuntimeError("a bug in the client")
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: bench.consumer.calls.count("commit") > 2)
        del bench.consumer.fails["commit"]
        await bench.until_idle()
    assert log.committed == {0: 1}


async def test_offsets_of_a_lost_assignment_are_dropped(bench: Bench, log: ScriptedLog) -> None:
    bench.consumer.fails["commit"] = Unavailable("down", "the log takes no commits")
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: bench.consumer.calls.count("commit") > 1)
        bench.consumer.assign([1])  # thrown out and back, without a chance to commit
        del bench.consumer.fails["commit"]
        await until(lambda: bench.progress.ready() == [])
        await log.append(TOPIC, a_success("r_2"), partition=1)
        await until(lambda: log.committed == {1: 1})
    assert 0 not in log.committed


async def test_a_rebalance_waits_for_the_batch_in_hand_and_commits_it(bench: Bench, log: ScriptedLog) -> None:
    held = bench.shop.verdicts["r_1"] = Held()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await held.entered.wait()
        rebalance = asyncio.create_task(bench.consumer.rebalance([1]))
        await asyncio.sleep(0)
        assert not rebalance.done()
        held.go.set()
        await rebalance
        assert log.committed == {0: 1}
    assert await bench.points() == 100


async def test_a_batch_fetched_before_a_rebalance_is_not_begun_after_it(
    flaky: FlakyDatabase, log: ScriptedLog
) -> None:
    bench = Bench(flaky, log, max_records=1)
    held = bench.shop.verdicts["r_1"] = Held()
    for number in range(1, 5):
        await log.append(TOPIC, a_success(f"r_{number}"), partition=0)
    async with bench.running():
        await held.entered.wait()
        # The next one is decoded and waits.
        await until(lambda: bench.consumer.calls.count("fetch") == 2)
        releasing = asyncio.create_task(bench.consumer.release())
        await asyncio.sleep(0)
        held.go.set()
        await releasing
        assert log.committed == {0: 1}
        # The group takes its time to decide; the other batches were let go, so more is fetched.
        await until(lambda: bench.consumer.calls.count("fetch") > 4)
        assert bench.shop.batches == [["r_1"]]
        bench.consumer.assign([1])
        await log.append(TOPIC, a_success("r_9"), partition=1)
        await until(lambda: log.committed.get(1) == 1)
    assert bench.shop.batches == [["r_1"], ["r_9"]]
    assert log.committed == {0: 1, 1: 1}


async def test_a_batch_stuck_in_an_outage_is_left_to_the_next_owner(
    database: Database, flaky: FlakyDatabase, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fetch that ends just as r_2 comes would be followed by a look at the database.
    monkeypatch.setattr("consumer.intake.FETCH_SECONDS", 1.0)
    bench = Bench(flaky, log, drain_seconds=0.05)
    await log.append(TOPIC, a_success("r_1"), partition=0)
    async with bench.running():
        await bench.until_idle()
        await until(
            lambda: bench.consumer.fetching == 1
        )  # so that it is fetched before anything else is asked
        flaky.down = True
        await log.append(TOPIC, a_success("r_2"), partition=0)
        await until(lambda: any(reason.startswith("database") for reason in bench.progress.ready()))
        await bench.consumer.rebalance([1])
        other = Bench(database, log)
        await other.settle_all()
        flaky.down = False
        await until(lambda: bench.progress.ready() == [])  # although nothing new came
        await log.append(TOPIC, a_success("r_3"), partition=1)
        await until(lambda: log.committed.get(1) == 1)
    assert await bench.points() == 300
    assert log.committed == {0: 2, 1: 1}


async def test_a_batch_that_ends_after_its_partitions_went_harms_nothing(
    database: Database, flaky: FlakyDatabase, log: ScriptedLog
) -> None:
    if database.dialect == "sqlite":
        return  # its one writer would hold the next owner up: there is only one process anyway
    bench = Bench(flaky, log, drain_seconds=0.05)
    held = bench.shop.verdicts["r_1"] = Held()
    await log.append(TOPIC, a_success("r_1"), partition=0)
    async with bench.running():
        await held.entered.wait()
        await bench.consumer.rebalance([1])
        other = Bench(database, log)
        async with other.running():
            await log.append(TOPIC, a_success("r_2"), partition=1)
            held.go.set()
            await other.until_idle()
    assert await bench.points() == 200
    assert await bench.rows("SELECT id FROM sales ORDER BY id") == [("r_1",), ("r_2",)]


async def test_stopping_settles_and_commits_what_was_begun(bench: Bench, log: ScriptedLog) -> None:
    held = bench.shop.verdicts["r_1"] = Held()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await held.entered.wait()
        bench.stop.set()
        held.go.set()
    assert log.committed == {0: 1}
    assert await bench.points() == 100


@pytest.mark.parametrize("outage", ["database", "log", "both"])
async def test_stopping_ends_in_time_during_an_outage(
    flaky: FlakyDatabase, log: ScriptedLog, outage: str
) -> None:
    bench = Bench(flaky, log, drain_seconds=0.4)
    async with bench.running():
        await until(lambda: bench.consumer.started == {0: 0, 1: 0})
        flaky.down = outage != "log"
        if outage != "database":
            down = Unavailable("down", "the log is down")
            bench.consumer.fails = dict.fromkeys(("fetch", "commit", "bounds", "committed"), down)
        await log.append(TOPIC, a_success("r_1"))
        await until(lambda: bench.progress.ready() != [])
    assert bench.consumer.fetching == 0
    flaky.down = False
    second = Bench(flaky, log)
    await second.settle_all()
    assert await second.points() == 100


async def test_stopping_never_cancels_a_fetch(bench: Bench, log: ScriptedLog, monkeypatch: Any) -> None:
    monkeypatch.setattr("consumer.intake.FETCH_SECONDS", 0.1)
    ends: list[Any] = []
    found = bench.consumer._found

    async def watched(*arguments: Any) -> Any:
        try:
            ends.append(await found(*arguments))
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    monkeypatch.setattr(bench.consumer, "_found", watched)
    async with bench.killed_at_the_end():
        await until(lambda: bench.consumer.fetching == 1)
    assert ends and "cancelled" not in ends


async def test_the_next_batch_is_fetched_and_decoded_while_this_one_is_settled(
    flaky: FlakyDatabase, log: ScriptedLog
) -> None:
    bench = Bench(flaky, log, max_records=1)
    held = bench.shop.verdicts["r_1"] = Held()
    for number in range(1, 8):
        await log.append(TOPIC, a_success(f"r_{number}"), partition=0)
    async with bench.running():
        await held.entered.wait()
        await until(lambda: bench.consumer.calls.count("fetch") == 2)
        # One is settled, one waits: no more is read until that one is settled.
        for _ in range(20):
            await asyncio.sleep(0)
        assert bench.consumer.calls.count("fetch") == 2
        held.go.set()
        await bench.until_idle()
    assert await bench.points() == 700


TOP_UP_FAILS = [
    None,
    Unavailable("down", "the log is down"),
    Misconfigured("offset_out_of_range", "the log is another"),
    RuntimeError("a bug in the client"),
]


@pytest.mark.parametrize("error", TOP_UP_FAILS, ids=lambda error: type(error).__name__)
async def test_a_small_batch_takes_along_what_came_while_it_waited(
    flaky: FlakyDatabase, log: ScriptedLog, error: Exception | None
) -> None:
    bench = Bench(flaky, log)
    held = bench.shop.verdicts["r_1"] = Held()
    await log.append(TOPIC, a_success("r_1"), partition=0)
    async with bench.running():
        await held.entered.wait()
        await log.append(TOPIC, a_success("r_2"), partition=0)
        await until(lambda: not bench.worker._intake.idle)
        for number in range(3, 6):
            await log.append(TOPIC, a_success(f"r_{number}"), partition=number % 2)
        if error is not None:
            bench.consumer.fails["fetch"] = error
        fetches = bench.consumer.calls.count("fetch")
        held.go.set()
        await until(lambda: bench.consumer.calls.count("fetch") > fetches + 1)
        bench.consumer.fails.clear()
        await bench.until_idle()
    applied = [id for batch in bench.shop.batches for id in batch]
    assert sorted(applied) == [f"r_{number}" for number in range(1, 6)]
    if error is None:
        assert len(bench.shop.batches) == 2
    assert await bench.points() == 500


async def test_nothing_overtakes_the_batch_behind(flaky: FlakyDatabase, log: ScriptedLog) -> None:
    bench = Bench(flaky, log)
    held = bench.shop.verdicts["r_1"] = Held()
    await log.append(TOPIC, a_success("r_1"), partition=0)
    async with bench.running():
        await held.entered.wait()
        await log.append(TOPIC, a_success("r_2"), partition=0)
        await until(lambda: not bench.worker._intake.idle)
        fetches = bench.consumer.calls.count("fetch")
        bench.worker._intake.go_on()  # as each new try at the batch in hand does
        await log.append(TOPIC, a_success("r_3"), partition=0)
        await until(lambda: bench.consumer.calls.count("fetch") > fetches)
        await log.append(TOPIC, a_success("r_4"), partition=0)
        held.go.set()
        await bench.until_idle()
        await until(lambda: log.committed.get(0) == 4)
    assert [id for batch in bench.shop.batches for id in batch] == [f"r_{number}" for number in range(1, 5)]


async def test_a_batch_that_is_cut_off_while_it_takes_more_along_is_fetched_again(
    flaky: FlakyDatabase, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(flaky, log)
    await log.append(TOPIC, a_success("r_1"), partition=0)
    intake, real = bench.worker._intake, bench.worker._intake._take
    reached, stop = asyncio.Event(), asyncio.Event()

    async def take(items: Any, timeout: float) -> Any:  # noqa: ASYNC109
        if asyncio.current_task() is cut_off:
            reached.set()
            await asyncio.Event().wait()
        return await real(items, timeout)

    monkeypatch.setattr(intake, "_take", take)
    await bench.worker.join()
    fetching = asyncio.create_task(intake.fetch_until(stop))
    cut_off = asyncio.create_task(intake.next())
    await reached.wait()
    cut_off.cancel()
    await asyncio.wait([cut_off])
    again = await intake.next()
    assert again is not None and [item.record.offset for item in again.items] == [0]
    stop.set()
    intake.go_on()
    await fetching


@pytest.mark.parametrize("method", ["fetch", "committed", "bounds"])
@pytest.mark.parametrize(
    "error", [Unavailable("down", "the log is down"), RuntimeError("a bug in the client")]
)
async def test_trouble_with_the_log_is_waited_out(
    sqlite: Database, log: ScriptedLog, method: str, error: Exception
) -> None:
    bench = Bench(sqlite, log)
    bench.consumer.fails[method] = error
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: bench.consumer.calls.count(method) > 2)
        assert bench.progress.ready() != []
        assert bench.progress.live() == []
        bench.consumer.fails.clear()
        await bench.until_idle()
        await until(lambda: bench.progress.ready() == [])
    assert await bench.points() == 100


async def test_an_unexpected_error_turns_the_worker_unready_then_stuck_and_never_ends_it(
    bench: Bench, flaky: FlakyDatabase, log: ScriptedLog
) -> None:
    async with bench.running():
        await until(lambda: bench.progress.ready() == [])
        flaky.error = RuntimeError("a bug of ours")
        await log.append(TOPIC, a_success("r_1"))
        await until(lambda: "database: unexpected RuntimeError" in bench.progress.ready())
        assert bench.progress.live() == []
        bench.clock.ahead = 121
        assert "database: stuck" in bench.progress.live()
        flaky.error = None
        await bench.until_idle()
        await until(lambda: bench.progress.ready() == [] and bench.progress.live() == [])
    assert await bench.points() == 100


async def test_an_observer_that_raises_harms_nobody(bench: Bench, log: ScriptedLog, monkeypatch: Any) -> None:
    calls = []

    def settled(outcomes: Any) -> None:
        calls.append(len(outcomes))
        raise RuntimeError("a bug of the observer's")

    monkeypatch.setattr(bench.told, "settled", settled)
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert calls == [1]


async def test_two_workers_share_the_partitions(database: Database, log: ScriptedLog) -> None:
    first, second = Bench(database, log), Bench(database, log)
    async with first.running(), second.running():
        first.consumer.assign([0])
        second.consumer.assign([1])
        await until(lambda: first.consumer.started.keys() | second.consumer.started.keys() == {0, 1})
        for number in range(1, 21):
            await log.append(TOPIC, a_success(f"r_{number}"), partition=number % 2)
        await first.until_idle()
    assert await first.points() == 2000
    assert len(first.caller.calls) + len(second.caller.calls) == 20


async def test_a_fenced_commit_is_dropped_and_no_trouble(sqlite: Database, log: ScriptedLog) -> None:
    bench = Bench(sqlite, log)
    committer = bench.worker._committer
    await bench.worker.join()
    committer.note(bench.consumer.assignment().epoch - 1, {0: 7})
    await committer.flush()
    await committer.flush()
    assert bench.consumer.calls.count("commit") == 1
    assert log.committed == {}
