"""Effects on the outside world: leased, run, repeated by schedule, given up, and never two at once."""

import asyncio

import pytest

from consumer.endings import LONGEST_WAIT
from events.failures import Refused, Unavailable
from handlers.protocol import Deferred, Retry, Skipped
from storage.database import Database
from storage.schema import State
from tests.consumer.bench import LETTERS, Bench, Caller, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import FlakyDatabase


async def test_a_try_that_fails_is_repeated_with_the_same_key_and_a_later_number(
    bench: Bench, log: ScriptedLog
) -> None:
    bench.caller.answers["r_1"] = [ValueError("no"), Unavailable("down", "no answer")]
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert bench.caller.calls == [("caller:default:succeeded:r_1", number) for number in (1, 2, 3)]
    assert (await bench.effects())["caller", "r_1", 0] == (State.DONE, 3, None)
    assert await bench.letters() == []


async def test_the_last_try_that_fails_is_a_letter_and_a_record_on_the_dead_letter_topic(
    bench: Bench, log: ScriptedLog
) -> None:
    bench.caller.answers["r_1"] = [ValueError("no, anna@example.com")] * 3
    await log.append(TOPIC, a_success("r_1"), key=b"cust_1")
    await bench.settle_all()
    assert len(bench.caller.calls) == 3
    assert await bench.letters() == [("caller", "handler_error", "r_1", 0, 0, 3)]
    assert (await bench.effects())["caller", "r_1", 0] == (State.DEAD, 3, "ValueError: no, [withheld]")
    (record,) = [record for records in log.topics[LETTERS].values() for record in records]
    assert (record.value, record.key) == (a_success("r_1"), b"cust_1")
    assert dict(record.headers).get("redemptions-handler") == b"caller"
    assert dict(record.headers).get("redemptions-attempts") == b"3"
    assert dict(record.headers).get("kafka_dlt-exception-fqcn") == b"builtins.ValueError"
    assert await bench.points() == 100


async def test_a_refusal_is_dead_at_once(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.answers["r_1"] = [Refused("no_address", "nobody to write to")]
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert len(bench.caller.calls) == 1
    assert await bench.letters() == [("caller", "no_address", "r_1", 0, 0, 1)]


async def test_a_skip_is_kept_with_its_reason(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.answers["r_1"] = [Skipped("quiet\x00hours")]
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert (await bench.effects())["caller", "r_1", 0] == (State.SKIPPED, 1, "quiet�hours")


async def test_what_is_put_off_is_tried_again_and_no_try_is_counted(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.answers["r_1"] = [Deferred(0.01, "quiet_hours")] * 5
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert [number for _, number in bench.caller.calls] == [1] * 6
    assert (await bench.effects())["caller", "r_1", 0] == (State.DONE, 1, None)
    assert bench.metric("attempts_total", handler="caller", result="deferred") == 5


@pytest.mark.parametrize(("seconds", "least", "most"), [(3600, 3_500, 3_600), (1e9, 600_000, 7 * 86_400)])
async def test_how_long_it_is_put_off(
    bench: Bench, log: ScriptedLog, seconds: float, least: float, most: float
) -> None:
    bench.caller.answers["r_1"] = [Deferred(seconds, "quiet\x00hours"), asyncio.CancelledError()]
    await log.append(TOPIC, a_success("r_1"))

    async def put_off() -> bool:
        return bool(await bench.rows("SELECT 1 FROM effects WHERE last_error LIKE 'deferred: quiet%hours'"))

    async with bench.running():
        await until(put_off)
    (row,) = await bench.rows("SELECT due_at, attempts FROM effects WHERE last_error LIKE 'deferred%'")
    assert least <= row[0] / 1000 - bench.clock.now() <= most
    assert row[1] == 0


async def test_what_a_handler_does_not_want_leaves_no_row(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, a_success("r_unwanted"))
    await bench.settle_all()
    assert ("caller", "r_unwanted", 0) not in await bench.effects()


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


ODD_ANSWERS = (
    ValueError("a\x00b\ud800"),
    ValueError("\n\nlines"),
    Speechless(),
    Refused("re\x00ason\ud800", "x" * 10_000),
    {"not": "a Skipped"},
    asyncio.CancelledError(),
    ExceptionGroup("several", [ValueError("a")]),
)


async def test_nothing_that_a_handler_answers_jams_its_effects(bench: Bench, log: ScriptedLog) -> None:
    for number, answer in enumerate(ODD_ANSWERS, start=1):
        bench.caller.answers[f"r_{number}"] = [answer] * 3
        await log.append(TOPIC, a_success(f"r_{number}"))
    await log.append(TOPIC, a_success("r_fine"))
    await bench.settle_all()
    states = {key[1]: row[0] for key, row in (await bench.effects()).items() if key[0] == "caller"}
    assert states.pop("r_fine") == states.pop("r_5") == State.DONE
    assert set(states.values()) == {State.DEAD}
    assert len(await bench.letters()) == 6
    assert await bench.scalar("SELECT count(*) FROM payloads") == 0


async def test_a_try_that_takes_too_long_is_cancelled_and_repeated(bench: Bench, log: ScriptedLog) -> None:
    runs = bench.worker._deliveries["caller"]._attempts._runs
    runs._terms = runs._terms._replace(timeout=0.05)
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: len(bench.caller.calls) == 2)
        bench.caller.gate.set()
        await bench.until_idle()
    assert (await bench.effects())["caller", "r_1", 0][0] == State.DONE


async def test_a_retry_waits_by_the_databases_clock(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.answers["r_1"] = [Unavailable("busy", "later", retry_after=1e300)]
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: bench.log.lag == 0)

        async def waits() -> bool:
            return bool(await bench.scalar("SELECT count(*) FROM effects WHERE last_error LIKE '%later'"))

        await until(waits)
        bench.clock.ahead = 2 * LONGEST_WAIT
        for _ in range(3):
            bench.worker._deliveries["caller"].wake()
            await asyncio.sleep(0)
        assert len(bench.caller.calls) == 1
        async with bench.database.transaction() as transaction:
            (row,) = await transaction.run("SELECT due_at - {now} AS wait FROM effects WHERE state = 1")
            assert 0 < row.wait <= LONGEST_WAIT * 1000
            await transaction.run("UPDATE effects SET due_at = {now} WHERE state = 1")
        await until(lambda: len(bench.caller.calls) == 2)
        await bench.until_idle()


def test_waits_grow_up_to_the_longest_and_never_overflow() -> None:
    retry = Retry(first=1.0, factor=2.0, longest=60.0)
    assert [retry.wait(tries, 1.0) for tries in (1, 2, 3, 10, 100_000)] == [1, 2, 4, 60, 60]
    assert retry.wait(5, 0.0) == 0


async def test_no_more_run_at_once_than_the_handler_allows(database: Database, log: ScriptedLog) -> None:
    bench = Bench(database, log)
    bench.caller.gate = asyncio.Event()
    for number in range(1, 51):
        await log.append(TOPIC, a_success(f"r_{number}", total=0))
    async with bench.running():
        await until(lambda: len(bench.caller.calls) == 10)
        assert bench.metric("attempts_running", handler="caller") == 10
        bench.caller.gate.set()
        await bench.until_idle()
    assert bench.caller.most == 10
    assert len(bench.caller.calls) == 50


async def test_two_workers_never_run_one_effect_at_the_same_time(
    database: Database, log: ScriptedLog
) -> None:
    first, second = Bench(database, log), Bench(database, log)
    first.caller = second.caller
    second.caller.answers = {f"r_{number}": [ValueError("once")] for number in range(1, 60, 7)}
    works = [bench.worker._deliveries["caller"]._work for bench in (first, second)]
    for work in works:
        work._run = second.caller.run  # type: ignore[attr-defined]
    async with first.running(), second.running():
        first.consumer.assign([0])
        second.consumer.assign([1])
        for number in range(1, 60):
            await log.append(TOPIC, a_success(f"r_{number}", total=0), partition=number % 2)
        await first.until_idle()
    assert max(second.caller.overlaps.values()) == 1
    assert len(second.caller.calls) == 59 + 9
    assert len(set(second.caller.calls)) == len(second.caller.calls)


async def test_the_payload_goes_when_the_last_effect_of_the_event_settles(
    database: Database, log: ScriptedLog
) -> None:
    slow = Caller("slow")
    slow.gate = asyncio.Event()
    bench = Bench(database, log, effects=[slow])
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await slow.called.wait()

        async def caller_is_done() -> bool:
            effects = await bench.effects()
            return bool(effects["caller", "r_1", 0][0] == State.DONE)

        await until(caller_is_done)
        assert await bench.scalar("SELECT count(*) FROM bundles") == 1
        slow.gate.set()
        await bench.until_idle()
    assert await bench.scalar("SELECT count(*) FROM bundles") == 0


async def test_handlers_that_settle_one_event_at_the_same_moment_leave_no_payload(
    database: Database, log: ScriptedLog
) -> None:
    others = [Caller(f"other-{number}") for number in range(4)]
    bench = Bench(database, log, effects=others)
    for number in range(1, 41):
        await log.append(TOPIC, a_success(f"r_{number}", total=0))
    await bench.settle_all()
    assert await bench.scalar("SELECT count(*) FROM payloads") == 0
    assert [len(other.calls) for other in others] == [40] * 4


async def test_a_crash_in_a_try_leaves_it_to_another_worker_after_the_lease(
    database: Database, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(database, log)
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.killed_at_the_end():
        await bench.caller.called.wait()
    second = Bench(database, log)
    async with second.running():
        await until(lambda: second.progress.ready() == [])
        for _ in range(3):
            second.worker._deliveries["caller"].wake()
            await asyncio.sleep(0.02)
        assert second.caller.calls == []  # it may still run, for all that anybody knows
        await expire_leases(database)
        await second.until_idle()
    assert second.caller.calls == [("caller:default:succeeded:r_1", 2)]


async def expire_leases(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run("UPDATE effects SET leased_until = {now} - 1 WHERE leased_until IS NOT NULL")


async def test_a_worker_that_crashes_at_each_try_does_not_do_so_for_ever(
    database: Database, log: ScriptedLog
) -> None:
    await log.append(TOPIC, a_success("r_1"))
    for _ in range(3):
        bench = Bench(database, log)
        bench.caller.gate = asyncio.Event()
        async with bench.killed_at_the_end():
            await bench.caller.called.wait()
        await expire_leases(database)
    last = Bench(database, log)
    await last.settle_all()
    assert last.caller.calls == []
    assert await last.letters() == [("caller", "attempts_used_up", "r_1", 0, 0, 4)]


async def test_a_lease_is_renewed_while_the_try_runs(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.delivery.RENEW_SECONDS", 0.0)
    # A look for lost leases that began before the call would find this one, which no clock has made expire.
    monkeypatch.setattr("consumer.delivery.TAKE_OVER_SECONDS", 3600.0)
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await bench.caller.called.wait()
        await expire_leases(bench.database)

        async def renewed() -> bool:
            async with bench.database.transaction() as transaction:
                return bool(
                    await transaction.run(
                        "SELECT 1 FROM effects WHERE leased_until > {now} AND lease_number = attempts"
                    )
                )

        await until(renewed)
        bench.caller.gate.set()
        await bench.until_idle()
    assert len(bench.caller.calls) == 1


async def test_a_lost_lease_cancels_the_try_and_its_word_does_not_count(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.delivery.RENEW_SECONDS", 0.0)
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await bench.caller.called.wait()
        async with bench.database.transaction() as transaction:
            await transaction.run(
                "UPDATE effects SET lease_owner = 'other', lease_number = 2, attempts = 2 WHERE state = 1"
            )
        await until(lambda: bench.caller.running.total() == 0)
        bench.caller.gate.set()
    assert (await bench.effects())["caller", "r_1", 0] == (State.PENDING, 2, None)
    assert await bench.scalar("SELECT lease_owner FROM effects WHERE state = 1") == "other"
    assert await bench.scalar("SELECT count(*) FROM bundles") == 1


async def test_after_an_outage_others_may_first_store_what_they_did(
    database: Database, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lost the database; the lease expired; the quicker one must not repeat what the other has done."""
    monkeypatch.setattr("consumer.delivery.SETTLING_SECONDS", 60.0)
    flaky = FlakyDatabase(database)
    first, second = Bench(flaky, log), Bench(database, log)
    first.caller.gate = asyncio.Event()
    async with first.running():
        await log.append(TOPIC, a_success("r_1"))
        await first.caller.called.wait()
        async with second.running():
            second.consumer.assign([])
            await until(lambda: second.progress.ready() == [])
            second.clock.ahead = 30.0  # not long enough after the database came back
            flaky.down = True
            first.caller.gate.set()
            await expire_leases(database)
            for _ in range(5):
                second.worker._deliveries["caller"].wake()
                await asyncio.sleep(0.02)
            assert second.caller.calls == []
            flaky.down = False
            await first.until_idle()
    assert len(first.caller.calls) == 1
    assert (await first.effects())["caller", "r_1", 0] == (State.DONE, 1, None)


async def test_results_survive_an_outage_of_the_database(database: Database, log: ScriptedLog) -> None:
    flaky = FlakyDatabase(database)
    bench = Bench(flaky, log)
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await bench.caller.called.wait()
        flaky.down = True
        bench.caller.gate.set()
        await until(lambda: any("effects of caller" in reason for reason in bench.progress.ready()))
        flaky.down = False
        await bench.until_idle()
        await until(lambda: bench.progress.ready() == [])
    assert len(bench.caller.calls) == 1


async def test_results_whose_storing_was_not_answered_count_once(
    database: Database, log: ScriptedLog
) -> None:
    flaky = FlakyDatabase(database)
    bench = Bench(flaky, log)
    bench.caller.answers["r_1"] = [Refused("no", "never")]
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await bench.caller.called.wait()
        flaky.lost_answers = 2
        bench.caller.gate.set()
        await until(lambda: flaky.lost_answers == 0)

        async def told() -> bool:
            return len(await bench.letters()) == 1

        await until(told)
    assert len(bench.caller.calls) == 1


async def test_letters_wait_for_a_log_that_is_away_and_never_die(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, b"rubbish")
    log.down = True
    async with bench.running():

        async def tried_in_vain() -> bool:
            return bool(await bench.scalar("SELECT max(attempts) FROM effects WHERE kind = 9") or 0)

        await until(tried_in_vain)
        log.down = False
        async with bench.database.transaction() as transaction:
            await transaction.run("UPDATE effects SET attempts = 1000, due_at = {now} WHERE kind = 9")
        await bench.until_idle()
    assert await bench.rows("SELECT state FROM effects WHERE kind = 9") == [(State.DONE,)]
    assert sum(len(records) for records in log.topics[LETTERS].values()) == 1


async def test_stopping_lets_tries_end_and_stores_them(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await bench.caller.called.wait()
        bench.stop.set()
        await asyncio.sleep(0)
        bench.caller.gate.set()
    assert (await bench.effects())["caller", "r_1", 0] == (State.DONE, 1, None)


async def test_stopping_ends_in_time_although_a_try_does_not(database: Database, log: ScriptedLog) -> None:
    bench = Bench(database, log, drain_seconds=0.1)
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await bench.caller.called.wait()
    assert bench.caller.running.total() == 0
    assert (await bench.effects())["caller", "r_1", 0] == (State.PENDING, 1, None)


async def test_a_mountain_of_pending_effects_does_not_stop_the_intake(
    database: Database, log: ScriptedLog
) -> None:
    bench = Bench(database, log)
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1", total=0))
    async with bench.running():
        await bench.caller.called.wait()
        async with database.transaction() as transaction:
            await transaction.run(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                "INSERT INTO effects (tenant, redemption_id, handler, kind, state, dependency, due_at) "
                "SELECT tenant, 'x_' || i, handler, kind, 1, handler, {now} FROM n, effects "
                "WHERE redemption_id = 'r_1' AND state = 1"
            )
        for number in range(2, 200):
            await log.append(TOPIC, a_success(f"r_{number}", total=100))
        await until(lambda: log.lag == 0)
        assert await bench.points() == 198
        assert len(bench.caller.calls) <= bench.caller.concurrency
        bench.caller.gate.set()
        async with database.transaction() as transaction:
            await transaction.run("DELETE FROM effects WHERE redemption_id LIKE 'x_%'")
