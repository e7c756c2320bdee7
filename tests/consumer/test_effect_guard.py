"""The guard of an effect handler: too many deaths, and its effects wait; the intake goes on."""

import asyncio
from typing import Any

import pytest

from events.failures import Refused
from handlers.protocol import Attempt
from storage.database import Database
from storage.handler_states import Standing, stop_handler
from storage.schema import State
from tests.consumer.bench import Bench, Caller, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.consumer.test_guard import halted, resume, state_of


class Broken(Caller):
    """A deployment in which every call is refused, or fails as often as it may."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def run(self, attempt: Attempt) -> Any:
        await super().run(attempt)
        raise self._error


def deployed(database: Database, log: ScriptedLog, error: Exception | None = None) -> Bench:
    return Bench(database, log, caller=Broken(error) if error else Caller())


async def sell(log: ScriptedLog, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await log.append(TOPIC, a_success(f"r_s{number}", total=100))


@pytest.mark.parametrize(
    "error", [Refused("no", "not like this"), ValueError("a bug")], ids=["refused", "bug"]
)
async def test_effects_of_a_broken_handler_wait_and_the_mended_one_does_all_once(
    database: Database, log: ScriptedLog, error: Exception
) -> None:
    await sell(log, 300)
    bad = deployed(database, log, error)
    async with bad.running():
        await until(lambda: halted(bad, "caller") and not log.lag)
        assert "in a row died, the last of" in bad.progress.ready()[0]
        # The intake goes on.
        await sell(log, 10, first=300)
        await until(lambda: not log.lag)
        assert await bad.points() == 310
    letters = [row for row in await bad.letters() if row[0] == "caller"]
    assert len(letters) < 20
    assert (await state_of(database, "caller")).standing is Standing.HALTED

    still = deployed(database, log)
    async with still.running():
        await until(lambda: halted(still, "caller"))
        assert still.caller.calls == []
        await resume(database, "caller")
        await still.until_idle()
        await until(lambda: still.progress.ready() == [])
    effects = [row for key, row in (await still.effects()).items() if key[0] == "caller"]
    assert sum(row[0] == State.DONE for row in effects) == 310 - len(letters)
    done = [key for key, _ in still.caller.calls]
    assert len(done) == len(set(done)) == 310 - len(letters)
    # Their last try was given back: none was used up.
    assert await still.letters() == await bad.letters()
    assert await still.scalar("SELECT count(*) FROM effects WHERE attempts > 3") == 0


async def test_nineteen_deaths_halt_nothing(database: Database, log: ScriptedLog) -> None:
    bench = deployed(database, log)
    await sell(log, 40)
    for number in range(19):
        bench.caller.answers[f"r_s{number}"] = [Refused("no", "not this one")]
    await bench.settle_all()
    assert len(await bench.letters()) == 19
    assert await state_of(database, "caller") is None


async def test_what_is_under_way_when_another_worker_halts_the_handler_does_not_die(
    database: Database, log: ScriptedLog
) -> None:
    bench = deployed(database, log, Refused("no", "not like this"))
    bench.caller.gate = asyncio.Event()
    await sell(log, 5)
    async with bench.running():
        await until(lambda: len(bench.caller.calls) == 5)
        async with database.transaction() as transaction:
            await stop_handler(transaction, "caller", Standing.HALTED, "guard", "elsewhere")
        bench.caller.gate.set()
        await until(lambda: not bench.caller.running.total())
    assert await bench.letters() == []
    effects = [row[:2] for key, row in (await bench.effects()).items() if key[0] == "caller"]
    assert effects == [(State.PENDING, 0)] * 5


async def test_an_operator_may_accept_that_some_die(database: Database, log: ScriptedLog) -> None:
    bench = deployed(database, log, Refused("no", "no longer a customer"))
    await sell(log, 30)
    async with bench.running():
        await until(lambda: halted(bench, "caller"))
        died = len(await bench.letters())
        await resume(database, "caller", accept=30)
        await bench.until_idle()
    assert len(await bench.letters()) == 30
    assert (await state_of(database, "caller")).allowance == died
