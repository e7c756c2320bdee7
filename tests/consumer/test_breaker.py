"""When a dependency counts as away and as back, and what becomes of its effects meanwhile."""

import asyncio
from typing import Any

import pytest

from consumer.breaker import CALLS_IN_A_ROW, PROBE_MS, SILENCE_MS, Call, after, answers_others
from consumer.exchange import Exchange, Exchanged, Order
from events.failures import Unavailable
from handlers.protocol import Attempt, Retry
from storage.breakers import Breaker
from storage.database import Database
from storage.schema import State
from tests.consumer.bench import Bench, Caller, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog

NEW = Breaker("crm")
FAILED, ANSWERED, NEITHER = Call.UNAVAILABLE, Call.ANSWERED, Call.NEITHER


def test_ten_calls_in_a_row_without_an_answer_open_it() -> None:
    nine = after(NEW, [FAILED] * (CALLS_IN_A_ROW - 1), 1_000)
    assert not nine.is_open
    assert after(nine, [FAILED], 1_001).is_open


def test_one_answer_begins_the_count_anew() -> None:
    breaker = after(NEW, [FAILED] * 9 + [ANSWERED] + [FAILED] * 9, 1_000)
    assert not breaker.is_open
    assert breaker.failures == 9


def test_thirty_seconds_without_an_answer_open_it_however_few_the_calls() -> None:
    one = after(NEW, [FAILED], 1_000)
    assert not after(one, [FAILED], 1_000 + SILENCE_MS - 1).is_open
    assert after(one, [FAILED], 1_000 + SILENCE_MS).is_open


def test_what_says_nothing_about_the_dependency_changes_nothing() -> None:
    assert after(NEW, [NEITHER] * 50, 1_000) == NEW


def test_a_probe_that_fails_makes_the_next_one_wait_and_one_that_is_answered_closes_it() -> None:
    away = after(NEW, [FAILED] * 10, 1_000)
    assert away.probe_at == 1_000 + PROBE_MS
    probed = after(away, [FAILED], 9_000, probed=True)
    assert probed.is_open
    assert probed.probe_at == 9_000 + PROBE_MS
    assert after(probed, [ANSWERED], 20_000, probed=True) == Breaker("crm", answered_at=20_000)


def test_an_effect_is_to_blame_only_while_others_are_answered() -> None:
    answered = Breaker("crm", answered_at=1_000)
    assert answers_others(answered._replace(failures=1), own=1, now=2_000)
    assert not answers_others(answered._replace(failures=2), own=1, now=2_000)
    assert not answers_others(answered._replace(failures=1), own=1, now=2_000 + SILENCE_MS)
    assert not answers_others(NEW, own=1, now=2_000)


class Phone(Caller):
    """Whoever is called is away, for all or for some, until the test says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.away = True
        self.never: set[str] = set()

    async def run(self, attempt: Attempt) -> Any:
        await super().run(attempt)
        if self.away or attempt.event.redemption_id in self.never:
            raise Unavailable("no_answer", "nobody there")


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> Phone:
    """Away; and nobody waits long between probes."""
    monkeypatch.setattr("consumer.breaker.PROBE_MS", 50)
    return Phone()


async def test_calls_stop_after_ten_failures_though_the_database_has_not_heard_of_them(
    database: Database, log: ScriptedLog, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 300
    for number in range(1, many + 1):
        await log.append(TOPIC, a_success(f"r_{number}"))
    bench = Bench(database, log, caller=phone)
    stored, asked = asyncio.Event(), asyncio.Event()
    carry_out = Exchange.carry_out

    async def late(exchange: Exchange, order: Order) -> Exchanged:
        if order.ended:
            asked.set()
            await stored.wait()
        return await carry_out(exchange, order)

    monkeypatch.setattr(Exchange, "carry_out", late)
    async with bench.running():
        await asked.wait()
        for _ in range(many):  # whoever may begin does
            await asyncio.sleep(0)
        assert len(phone.calls) <= CALLS_IN_A_ROW + phone.concurrency
        stored.set()
        await until(lambda: bench.metric("breaker_open", dependency="caller") == 1)
        phone.away = False
        await bench.until_idle()
    assert await bench.letters() == []
    assert len({key for key, _ in phone.calls}) == many


async def sell(log: ScriptedLog, count: int) -> None:
    for number in range(1, count + 1):
        await log.append(TOPIC, a_success(f"r_{number}", total=0), partition=number % 2)


async def sell_until_dead(bench: Bench, redemption: str) -> None:
    """Others are answered: so it is this one that is to blame."""
    number = 0
    while redemption not in [row[2] for row in await bench.letters()]:
        number += 1
        called = len(bench.caller.calls)
        await bench.log.append(TOPIC, a_success(f"r_new{number}", total=0))
        await until(lambda called=called: len(bench.caller.calls) > called)  # type: ignore[misc]
    await bench.until_idle()


def is_open(bench: Bench) -> Any:
    async def look() -> bool:
        return bool(await bench.scalar("SELECT count(*) FROM breakers WHERE opened_at IS NOT NULL"))

    return look


async def test_an_outage_uses_up_no_tries_and_ends_in_full_delivery(
    database: Database, log: ScriptedLog, phone: Phone
) -> None:
    bench = Bench(database, log, caller=phone)
    await sell(log, 50)
    async with bench.running():
        await until(is_open(bench))
        await until(lambda: phone.running.total() == 0)
        tries = "SELECT sum(attempts) FROM effects WHERE state = 1 AND leased_until IS NULL"
        before, counted = len(phone.calls), await bench.scalar(tries)
        # Each probe is a call, and none is a try.
        await until(lambda: len(phone.calls) >= before + 30)
        assert await bench.scalar(tries) <= counted + phone.retry.attempts
        assert bench.metric("breaker_open", dependency="caller") == 1
        assert await bench.letters() == []
        assert not log.lag
        phone.away = False
        await bench.until_idle()
        assert bench.metric("breaker_open", dependency="caller") == 0
    assert phone.most <= phone.concurrency
    states = await bench.effects()
    assert [states["caller", f"r_{n}", 0][0] for n in range(1, 51)] == [State.DONE] * 50
    assert await bench.letters() == []
    assert await bench.scalar("SELECT count(*) FROM bundles") == 0


async def test_the_only_effect_there_is_does_not_die_of_an_outage(
    database: Database, log: ScriptedLog, phone: Phone
) -> None:
    """Its tries are used up before ten calls are made, and nobody else is answered."""
    bench = Bench(database, log, caller=phone)
    await sell(log, 1)
    async with bench.running():
        await until(is_open(bench))
        await until(lambda: len(phone.calls) > 5)
        phone.away = False
        await bench.until_idle()
    assert (await bench.effects())["caller", "r_1", 0][0] == State.DONE
    assert await bench.letters() == []


async def test_while_it_is_open_one_call_at_a_time_is_made_by_all_workers_together(
    database: Database, log: ScriptedLog, phone: Phone
) -> None:
    first, second = (Bench(database, log, caller=phone) for _ in range(2))
    await sell(log, 40)
    async with first.running(), second.running():
        first.consumer.assign([0])
        second.consumer.assign([1])
        await until(is_open(first))
        await until(lambda: phone.running.total() == 0 and not log.lag)
        phone.most, before = 0, len(phone.calls)
        await until(lambda: len(phone.calls) >= before + 20)
        assert phone.most == 1
        phone.away = False
        await first.until_idle()
    assert await first.letters() == []


async def test_it_is_not_forgotten_when_the_worker_is_killed(
    database: Database, log: ScriptedLog, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.breaker.PROBE_MS", 3_600_000)
    killed = Bench(database, log, caller=phone)
    await sell(log, 30)
    async with killed.killed_at_the_end():
        await until(is_open(killed))
        await until(lambda: phone.running.total() == 0)
    called = len(phone.calls)
    bench = Bench(database, log, caller=phone)
    async with bench.running():
        await until(lambda: bench.metric("breaker_open", dependency="caller") == 1)
        await log.append(TOPIC, a_success("r_late"))
        await until(lambda: not log.lag)
        for _ in range(5):
            bench.worker._deliveries["caller"].wake()
            await asyncio.sleep(0)
        assert len(phone.calls) == called
        phone.away = False
        async with database.transaction() as transaction:
            await transaction.run("UPDATE breakers SET probe_at = {now}")
            await transaction.run(
                "UPDATE effects SET leased_until = {now} - 1 WHERE leased_until IS NOT NULL"
            )
        await bench.until_idle()
    assert await bench.letters() == []
    assert bench.metric("breaker_open", dependency="caller") == 0


async def test_what_is_never_answered_dies_while_others_are(
    database: Database, log: ScriptedLog, phone: Phone
) -> None:
    bench = Bench(database, log, caller=phone)
    phone.away, phone.never = False, {"r_7"}
    await sell(log, 20)
    async with bench.running():
        await sell_until_dead(bench, "r_7")
    assert await bench.letters() == [("caller", "no_answer", "r_7", 0, 0, 3)]


async def test_a_time_out_of_ours_is_no_answer_and_a_bug_is_nobodys_outage(
    database: Database, log: ScriptedLog, phone: Phone
) -> None:
    phone.away = False
    bench = Bench(database, log, caller=phone)
    for number in range(1, 16):
        phone.answers[f"r_{number}"] = [ValueError("a bug")] * 3
    await sell(log, 15)
    await bench.settle_all()
    assert len(await bench.letters()) == 15
    assert not await is_open(bench)()
    phone.timeout = 0.05
    phone.gate = asyncio.Event()
    other = Bench(database, log, caller=phone)
    await sell(log, 0)
    for number in range(100, 112):
        await log.append(TOPIC, a_success(f"r_{number}"))
    async with other.running():
        await until(is_open(other))
        phone.gate.set()
        await other.until_idle()
    assert len(await other.letters()) == 15


async def test_while_it_is_open_effects_do_not_age(
    database: Database, log: ScriptedLog, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Phone, "retry", Retry(attempts=None, first=0.01, longest=0.05, age=600.0))
    bench = Bench(database, log, caller=phone)
    await sell(log, 20)
    async with bench.running():
        await until(is_open(bench))
        # An hour ago it all began: that was the outage.
        async with database.transaction() as transaction:
            await transaction.run("UPDATE breakers SET opened_at = opened_at - 3600000")
            await transaction.run("UPDATE effects SET created_at = created_at - 3600500 WHERE state = 1")
        phone.never = {"r_3"}
        phone.away = False

        async def others_are_done() -> bool:
            return bool(await bench.scalar("SELECT count(*) = 1 FROM effects WHERE state = 1"))

        await until(others_are_done)
        calls = len(phone.calls)
        await until(lambda: len(phone.calls) > calls + 3)
        assert await bench.letters() == []
        async with database.transaction() as transaction:
            await transaction.run("UPDATE effects SET created_at = created_at - 600000 WHERE state = 1")
        await sell_until_dead(bench, "r_3")
    assert [row[2] for row in await bench.letters()] == ["r_3"]
