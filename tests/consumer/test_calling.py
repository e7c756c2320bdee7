"""A handler that makes several calls: each dependency is judged by its own, and holds up no other."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from consumer.breaker import Call
from consumer.calls import Called, Calls
from consumer.dependencies import KnownDependencies
from consumer.metrics import WorkerMetrics
from consumer.switches import Switches
from events.failures import Away, DatabaseUnavailable, Refused, Unavailable
from handlers.protocol import Attempt, Deferred
from storage.breakers import Breaker, Signals
from storage.database import Database
from storage.schema import State
from tests.consumer.bench import Bench, Caller, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog

SILENT = Unavailable("no_answer", "nobody there")


class Channels(Caller):
    """Writes to crm and mail, each once, as far as they are there."""

    def __init__(self) -> None:
        super().__init__("channels")
        self.away: set[str] = set()
        self.tried: Counter[str] = Counter()
        self.taken: Counter[tuple[str, str]] = Counter()
        self.busy: Counter[str] = Counter()
        self.most_of: Counter[str] = Counter()
        self.waits: float | None = None
        """What is away is not told of: the event is put off."""

    async def run(self, attempt: Attempt) -> Any:
        await super().run(attempt)
        failure: Exception | None = None
        for channel in ("crm", "mail"):
            if not self.taken[channel, attempt.key]:
                try:
                    await self._call(channel, attempt)
                except Unavailable as error:
                    failure = error
        if failure is not None and self.waits is not None:
            return Deferred(self.waits, "quiet_hours")
        if failure is not None:
            raise failure
        return None

    async def _call(self, channel: str, attempt: Attempt) -> None:
        with attempt.calling(channel):
            self.tried[channel] += 1
            self.busy[channel] += 1
            self.most_of[channel] = max(self.busy[channel], self.most_of[channel])
            await asyncio.sleep(0)
            self.busy[channel] -= 1
            if channel in self.away:
                raise Unavailable("no_answer", "nobody there")
            self.taken[channel, attempt.key] += 1


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Channels:
    monkeypatch.setattr("consumer.breaker.PROBE_MS", 50)
    return Channels()


async def sell(log: ScriptedLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await log.append(TOPIC, a_success(f"r_{number}", total=0))


async def open_ones(bench: Bench) -> set[str]:
    return {row[0] for row in await bench.rows("SELECT dependency FROM breakers WHERE opened_at IS NOT NULL")}


async def test_one_that_is_away_holds_up_no_other_and_all_is_delivered_once(
    database: Database, log: ScriptedLog, channels: Channels
) -> None:
    channels.away = {"mail"}
    bench = Bench(database, log, caller=channels)
    await sell(log, 1, 30)
    async with bench.running():

        async def mail_is_open() -> bool:
            return await open_ones(bench) == {"mail"}

        await until(mail_is_open)
        await until(lambda: channels.running.total() == 0 and not log.lag)
        channels.most_of.clear()
        await sell(log, 31, 60)
        await until(lambda: sum(count for (name, _), count in channels.taken.items() if name == "crm") == 60)
        tried = channels.tried["mail"]
        await until(lambda: channels.tried["mail"] >= tried + 10)
        assert channels.most_of["mail"] == 1
        assert await open_ones(bench) == {"mail"}
        assert await bench.letters() == []
        channels.away = set()
        await bench.until_idle()
        assert await open_ones(bench) == set()
    assert set(channels.taken.values()) == {1}
    assert len(channels.taken) == 120
    states = {row[0] for key, row in (await bench.effects()).items() if key[0] == "channels"}
    assert states == {State.DONE}
    assert await bench.letters() == []


async def test_it_is_probed_although_no_effect_waits_for_it_alone(
    database: Database, log: ScriptedLog, channels: Channels
) -> None:
    """The event waits for something else, and asks now and then."""
    channels.away, channels.waits = {"mail"}, 0.01
    bench = Bench(database, log, caller=channels)
    await sell(log, 1, 15)
    async with bench.running():

        async def mail_is_open() -> bool:
            return await open_ones(bench) == {"mail"}

        await until(mail_is_open)
        tried = channels.tried["mail"]
        await until(lambda: channels.tried["mail"] >= tried + 5)
        channels.away = set()
        await bench.until_idle()
    assert set(channels.taken.values()) == {1}
    assert await open_ones(bench) == set()


async def test_an_outage_of_the_workers_own_database_is_no_try_and_nobodys_fault(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.runs.DATABASE_SECONDS", 0.001)
    away = DatabaseUnavailable("database_unavailable", "it is down")
    for number in range(1, 13):
        bench.caller.answers[f"r_{number}"] = [away] * 5
    await sell(log, 1, 12)
    await bench.settle_all()
    assert len(bench.caller.calls) == 12 * 6
    assert {number for _, number in bench.caller.calls} == {1}
    assert await bench.letters() == []
    assert await bench.scalar("SELECT count(*) FROM breakers WHERE opened_at IS NOT NULL") == 0


async def test_what_depends_on_a_name_that_nobody_uses_any_more_is_delivered(
    bench: Bench, log: ScriptedLog
) -> None:
    bench.caller.gate = asyncio.Event()
    await sell(log, 1, 3)
    async with bench.killed_at_the_end():
        await bench.caller.called.wait()
    async with bench.database.transaction() as transaction:
        await transaction.learn({"gone"})
        await transaction.run(
            "UPDATE effects SET dependency = :gone, leased_until = NULL WHERE state = 1",
            gone=transaction.names.id("gone"),
        )
    again = Bench(bench.database, log)
    await again.settle_all()
    assert len(again.caller.calls) == 3


def calls_with(*away: str) -> Calls:
    switches = Switches("channels", WorkerMetrics(CollectorRegistry()))
    switches.set(Signals(0, stopped=False, breakers={name: Breaker(name, opened_at=1) for name in away}), {})
    return Calls("channels", KnownDependencies(), switches)


def test_a_handler_that_names_no_call_made_one() -> None:
    calls = calls_with()
    calls.answered()
    assert calls.made == [Called("channels", Call.ANSWERED)]
    calls = calls_with()
    calls.failed(SILENT)
    assert calls.made == [Called("channels", Call.UNAVAILABLE)]
    assert calls.blamed_for(SILENT) == "channels"


def test_a_call_that_is_judged_after_it_ended_got_no_answer() -> None:
    calls = calls_with()
    with calls.calling("crm"):
        pass
    calls.failed(SILENT)
    assert calls.made == [Called("crm", Call.UNAVAILABLE)]
    assert calls.blamed_for(SILENT) == "crm"


def test_a_time_out_within_a_call_is_no_answer_and_a_refusal_is_one() -> None:
    calls = calls_with()
    with pytest.raises(asyncio.CancelledError), calls.calling("crm"):
        raise asyncio.CancelledError
    with pytest.raises(Refused), calls.calling("mail"):
        raise Refused("no", "no", answered=True)
    with pytest.raises(Refused), calls.calling("log"):
        raise Refused("no", "no")
    calls.failed(TimeoutError())
    assert calls.made == [
        Called("crm", Call.UNAVAILABLE),
        Called("mail", Call.ANSWERED),
        Called("log", Call.NEITHER),
    ]
    assert calls.blamed_for(TimeoutError()) == "crm"


def test_who_is_away_is_not_called_and_who_raised_is_blamed() -> None:
    calls = calls_with("mail")
    with pytest.raises(Away) as away, calls.calling("mail"):
        raise AssertionError("called")
    with pytest.raises(Unavailable) as silent, calls.calling("crm"):
        raise SILENT
    with pytest.raises(ConnectionError), calls.calling("sms"):
        raise ConnectionError
    assert calls.blamed_for(silent.value) == "crm"
    assert calls.blamed_for(away.value) == "mail"


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", 5, None])
def test_a_name_that_is_none_is_the_handlers_own(name: Any) -> None:
    calls = calls_with()
    with calls.calling(name):
        pass
    assert calls.made == [Called("channels", Call.ANSWERED)]
