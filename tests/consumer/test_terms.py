"""What an effect handler's terms promise is kept: unknown outcomes, tries at once, ages, rates."""

import asyncio

import pytest

from consumer.pace import Pace
from events.failures import Unavailable
from handlers.protocol import Retry
from handlers.terms import OnUnknown
from storage.database import Database
from storage.schema import State
from tests.consumer.bench import Bench, Caller, Clock, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.consumer.test_delivery import expire_leases


class Mail(Caller):
    """Whom a repeated call would reach twice."""

    on_unknown: OnUnknown = "give_up"


class Hasty(Caller):
    retry = Retry(attempts=4, first=3600.0, at_once=2)


class Aging(Caller):
    retry = Retry(attempts=None, first=0.01, longest=0.05, age=600.0)


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), ConnectionResetError(), ValueError("a bug"), Unavailable("http_500", "no", sent=True)],
    ids=["time-out", "reset", "bug", "lost answer"],
)
async def test_what_was_perhaps_carried_out_is_given_up(
    database: Database, log: ScriptedLog, error: Exception
) -> None:
    bench = Bench(database, log, caller=Mail())
    bench.caller.answers["r_1"] = [error]
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert len(bench.caller.calls) == 1
    assert await bench.letters() == [("caller", "outcome_unknown", "r_1", 0, 0, 1)]


async def test_what_was_surely_not_carried_out_is_tried_again(database: Database, log: ScriptedLog) -> None:
    bench = Bench(database, log, caller=Mail())
    bench.caller.answers["r_1"] = [Unavailable("http_503", "busy"), Unavailable("no_answer", "refused")]
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert [number for _, number in bench.caller.calls] == [1, 2, 3]
    assert await bench.letters() == []


async def test_what_a_lost_worker_was_doing_is_given_up_and_what_it_had_not_begun_is_done(
    database: Database, log: ScriptedLog
) -> None:
    bench = Bench(database, log, caller=Mail())
    bench.caller.gate = asyncio.Event()
    for number in range(1, 21):
        await log.append(TOPIC, a_success(f"r_{number}", total=0))
    async with bench.killed_at_the_end():
        await until(lambda: len(bench.caller.calls) == bench.caller.concurrency)
    await expire_leases(database)
    second = Bench(database, log, caller=Mail())
    await second.settle_all()
    begun = {key.rpartition(":")[2] for key, _ in bench.caller.calls}
    assert {letter[1:3] for letter in await second.letters()} == {("outcome_unknown", one) for one in begun}
    assert len(second.caller.calls) == 20 - len(begun)


async def test_no_answer_is_followed_by_tries_at_once_within_one_lease(
    database: Database, log: ScriptedLog
) -> None:
    bench = Bench(database, log, caller=Hasty())
    bench.caller.answers["r_1"] = [Unavailable("no_answer", "nobody")] * 2
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert [number for _, number in bench.caller.calls] == [1, 2, 3]
    assert (await bench.effects())["caller", "r_1", 0] == (State.DONE, 3, None)
    assert await bench.scalar("SELECT lease_number FROM effects WHERE attempts = 3") == 1


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), Unavailable("busy", "later", retry_after=1.0)], ids=["bug", "retry-after"]
)
async def test_what_a_try_at_once_cannot_cure_waits_for_its_time(
    database: Database, log: ScriptedLog, error: Exception
) -> None:
    bench = Bench(database, log, caller=Hasty())
    bench.caller.answers["r_1"] = [error]
    await log.append(TOPIC, a_success("r_1"))

    async def failed() -> bool:
        return bool(await bench.scalar("SELECT count(*) FROM effects WHERE state = 1 AND last_error <> ''"))

    async with bench.running():
        await until(failed)
    assert len(bench.caller.calls) == 1


async def test_what_fails_when_it_is_too_old_is_dead(database: Database, log: ScriptedLog) -> None:
    bench = Bench(database, log, caller=Aging())
    bench.caller.answers["r_1"] = [ValueError("a bug")] * 10_000
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: len(bench.caller.calls) > 3)
        async with database.transaction() as transaction:
            await transaction.run("UPDATE effects SET created_at = created_at - 601000 WHERE state = 1")
        await bench.until_idle()
    assert [letter[1] for letter in await bench.letters()] == ["handler_error"]


class Still(Clock):
    """Goes on when told."""

    def monotonic(self) -> float:
        return self.ahead


@pytest.mark.parametrize(("rate", "most"), [(50.0, 5), (2.0, 1), (0.5, 1)])
def test_no_more_begin_than_the_rate_allows(rate: float, most: int) -> None:
    clock = Still()
    pace = Pace(rate, clock)
    assert [pace.take() for _ in range(most + 1)] == [True] * most + [False]
    begun = 0
    for _ in range(1000):
        clock.ahead += 0.02
        while pace.take():
            begun += 1
    assert 0.9 * rate * 20 <= begun <= rate * 20
    while pace.take():
        pass
    clock.ahead += pace.wait
    assert pace.ready == pytest.approx(1.0)


async def test_a_handler_with_a_rate_begins_no_more(database: Database, log: ScriptedLog) -> None:
    caller = Caller()
    caller.rate = 10.0  # type: ignore[attr-defined]
    clock = Still()
    bench = Bench(database, log, caller=caller, clock=clock)
    for number in range(1, 31):
        await log.append(TOPIC, a_success(f"r_{number}", total=0))
    async with bench.running():
        await until(lambda: not log.lag)
        await until(lambda: len(caller.calls) == 1)
        for second in range(1, 30):
            clock.ahead += 0.1001
            bench.worker._deliveries["caller"].wake()
            await until(lambda second=second: len(caller.calls) > second)  # type: ignore[misc]
            assert len(caller.calls) == second + 1
        await bench.until_idle()
