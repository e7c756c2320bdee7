"""Stored jobs: letters chosen once, each with one result, whoever works on them, however often that ends."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from broker.protocols import TooLarge
from consumer.job_steps import JobSteps, LeaseLost
from consumer.jobs import JobRunner
from consumer.progress import Progress
from consumer.waiting import Patience
from events.failures import Refused, Unavailable
from events.reading import read
from events.runtime import SystemRuntime
from storage.audit_queries import AuditFilter, read_audit
from storage.database import Database
from storage.job_queries import count_died_again, items_of
from storage.jobs import change_state, claim_job, job_runs
from storage.letter_queries import LetterFilter, find_letters, group_letters
from storage.schema import ItemState, JobKind, JobState, LetterState, State
from tests.consumer.bench import Bench, a_success, until
from tests.consumer.orders import OPEN, counts_of, ordered, runner, worked_on
from tests.consumer.scripted import TOPIC, ScriptedLog

DISCARDED = LetterFilter(states=(LetterState.DISCARDED,))


async def dead(bench: Bench, count: int) -> None:
    """So many events whose calls are refused."""
    for number in range(1, count + 1):
        bench.caller.answers[f"r_{number}"] = [Refused("no_address", f"nobody at number {number}")]
        await bench.log.append(TOPIC, a_success(f"r_{number}"))
    await bench.settle_all()


def replays(log: ScriptedLog) -> Counter[tuple[bytes, bytes]]:
    """Replay records in the log by letter and generation."""
    return Counter(
        (letter, dict(record.headers).get("redemptions-replay-generation") or b"")
        for records in log.topics[TOPIC].values()
        for record in records
        if (letter := dict(record.headers).get("redemptions-replay-letter"))
    )


async def stand(database: Database, job: str, before: JobState, after: JobState) -> bool:
    async with database.transaction() as transaction:
        return await change_state(transaction, job, (before,), after)


async def runs(database: Database) -> bool:
    async with database.snapshot() as snapshot:
        return await job_runs(snapshot)


class Interrupted(Exception):
    """Ends a runner where a kill would."""


class Narrow(ScriptedLog):
    """A log that does something on the way to the n-th replay."""

    def __init__(self, log: ScriptedLog) -> None:
        self.__dict__ = log.__dict__
        self.count = 0
        self.at: dict[int, Any] = {}

    async def append(self, *values: Any, **named: Any) -> tuple[int, int]:
        self.count += 1
        if happens := self.at.pop(self.count, None):
            if isinstance(happens, BaseException):
                raise happens
            await happens()
        return await super().append(*values, **named)


async def test_a_job_has_a_result_for_each_letter_and_its_deed_in_the_audit(
    bench: Bench, log: ScriptedLog
) -> None:
    await dead(bench, 3)
    job = await ordered(bench.database)
    assert await runs(bench.database)
    done: list[int] = []
    assert await runner(bench.database, log).complete(job, done.append) is JobState.DONE
    assert sum(done) == 3 and not await runs(bench.database)
    again = Bench(bench.database, log)
    again.caller.answers["r_1"] = [Refused("no_address", "still nobody")]
    await again.settle_all()
    async with bench.database.snapshot() as snapshot:
        assert await count_died_again(snapshot, job) == 1
        items = [row async for row in items_of(snapshot, job)]
        deeds = [deed async for deed in read_audit(snapshot, AuditFilter())]
    assert [(row.state, row.generation) for row in items] == [(ItemState.REPLAYED, 1)] * 3
    assert sorted(bool(row.died) for row in items) == [False, False, True]
    assert [(deed.outcome, deed.counts["replayed"], deed.subject) for deed in deeds] == [("done", 3, job)]
    assert [letter[3:5] for letter in await again.letters()].count((LetterState.OPEN, 1)) == 1


async def test_the_choice_is_made_once(bench: Bench, log: ScriptedLog) -> None:
    await dead(bench, 2)
    job = await ordered(bench.database)
    await log.append(TOPIC, b"died later")
    await Bench(bench.database, log).settle_all()
    await runner(bench.database, log).complete(job, lambda letters: None)
    assert (await counts_of(bench.database, job))["replayed"] == 2
    assert [letter[1] for letter in await bench.letters() if letter[3] == LetterState.OPEN] == ["not_json"]


async def test_letters_that_somebody_else_has_seen_to_are_passed_over(bench: Bench, log: ScriptedLog) -> None:
    await dead(bench, 3)
    job = await ordered(bench.database)
    ids = [row[0] for row in await bench.rows("SELECT id FROM dead_letters ORDER BY id")]
    await worked_on(bench.database, log, LetterFilter(ids=(ids[0],)), JobKind.DISCARD)
    await worked_on(bench.database, log, LetterFilter(ids=(ids[1],)))
    await runner(bench.database, log).complete(job, lambda letters: None)
    counts = await counts_of(bench.database, job)
    assert (counts["passed_over"], counts["replayed"]) == (2, 1)
    assert set(replays(log).values()) == {1}


async def test_a_pause_stops_after_the_step_in_hand_and_resuming_does_the_rest(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.jobs.LETTERS", 2)
    await dead(bench, 7)
    job = await ordered(bench.database)
    narrow = Narrow(log)

    async def pause() -> None:
        assert await stand(bench.database, job, JobState.RUNNING, JobState.PAUSED)

    narrow.at[3] = pause
    assert await runner(bench.database, narrow).complete(job, lambda letters: None) is JobState.PAUSED
    assert (await counts_of(bench.database, job))["replayed"] == 4
    assert not await runs(bench.database)
    await stand(bench.database, job, JobState.PAUSED, JobState.RUNNING)
    assert await runner(bench.database, log).complete(job, lambda letters: None) is JobState.DONE
    assert len(replays(log)) == 7 and set(replays(log).values()) == {1}


async def test_a_cancelled_job_ends_where_it_is(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.jobs.LETTERS", 2)
    await dead(bench, 5)
    job = await ordered(bench.database)
    narrow = Narrow(log)

    async def cancel() -> None:
        await stand(bench.database, job, JobState.RUNNING, JobState.CANCELLED)

    narrow.at[1] = cancel
    assert await runner(bench.database, narrow).complete(job, lambda letters: None) is JobState.CANCELLED
    counts = await counts_of(bench.database, job)
    assert (counts["replayed"], counts["waiting"]) == (2, 3)
    async with bench.database.snapshot() as snapshot:
        (deed,) = [deed async for deed in read_audit(snapshot, AuditFilter())]
    assert (deed.outcome, deed.counts["replayed"]) == ("cancelled", 2)
    assert await bench.rows("SELECT count(*) FROM jobs WHERE ended_at IS NULL") == [(0,)]


@pytest.mark.parametrize("moment", ["publish", "settle_items"])
async def test_who_takes_over_from_a_killed_runner_repeats_no_effect(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr("consumer.jobs.LETTERS", 2)
    await dead(bench, 5)
    job = await ordered(bench.database)
    narrow = Narrow(log)
    if moment == "publish":
        narrow.at[4] = Interrupted()
    else:

        async def killed(*_: object) -> None:
            raise Interrupted

        monkeypatch.setattr("consumer.job_steps.settle_items", killed)
    monkeypatch.setattr("consumer.jobs.release_job", _nothing)
    with pytest.raises(Interrupted):
        await runner(bench.database, narrow).complete(job, lambda letters: None)
    monkeypatch.undo()
    monkeypatch.setattr("consumer.jobs.POLL_SECONDS", 0.01)
    other = runner(bench.database, log)
    async with bench.database.transaction() as transaction:
        assert await claim_job(transaction, other.owner, 30) is None  # the lease of the dead still holds
        await transaction.run("UPDATE jobs SET leased_until = 0")
    assert await other.complete(job, lambda letters: None) is JobState.DONE
    assert len(replays(log)) == 5 and max(replays(log).values()) == 2
    mended = Bench(bench.database, log)
    await mended.settle_all()
    assert sorted(call for call, _ in mended.caller.calls) == [
        f"caller:default:succeeded:r_{number}" for number in range(1, 6)
    ]
    assert {letter[3] for letter in await mended.letters()} == {LetterState.REPLAYED}


async def _nothing(*_: object) -> None:
    """Nobody says goodbye."""


async def test_two_runners_never_both_publish(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.jobs.LETTERS", 1)
    monkeypatch.setattr("consumer.jobs.POLL_SECONDS", 0.01)
    await dead(bench, 15)  # more in a row would halt the handler
    job = await ordered(bench.database)
    stop = asyncio.Event()
    runners = [
        JobRunner(bench.database, log, TOPIC, SystemRuntime(), Patience(Progress(bench.clock), bench.clock))
        for _ in range(3)
    ]

    async def ended() -> bool:
        return not await runs(bench.database)

    async with asyncio.TaskGroup() as tasks:
        for each in runners:
            tasks.create_task(each.run(stop))
        await until(ended)
        stop.set()
    assert len(replays(log)) == 15 and set(replays(log).values()) == {1}
    assert (await counts_of(bench.database, job))["replayed"] == 15


async def test_a_runner_that_was_frozen_finds_its_word_no_longer_counts(
    bench: Bench, log: ScriptedLog
) -> None:
    await dead(bench, 2)
    await ordered(bench.database)
    steps = JobSteps(bench.database, log, TOPIC)
    async with bench.database.transaction() as transaction:
        frozen = await claim_job(transaction, "frozen", 0)
        other = await claim_job(transaction, "other", 30)
    assert frozen is not None and other is not None
    with pytest.raises(LeaseLost):
        await steps.step(frozen)
    assert not replays(log)
    assert (await steps.step(other)).letters == 2


async def test_a_log_that_does_not_answer_leaves_the_job_to_others(bench: Bench, log: ScriptedLog) -> None:
    await dead(bench, 2)
    job = await ordered(bench.database)
    log.down = True
    with pytest.raises(Unavailable):
        await runner(bench.database, log).complete(job, lambda letters: None)
    assert {letter[3] for letter in await bench.letters()} == {LetterState.OPEN}
    log.down = False
    assert await runner(bench.database, log).complete(job, lambda letters: None) is JobState.DONE


async def test_a_letter_too_large_for_the_log_does_not_hold_up_the_others(
    bench: Bench, log: ScriptedLog
) -> None:
    await dead(bench, 3)
    narrow = Narrow(log)
    narrow.at[2] = TooLarge()
    state, counts = await worked_on(bench.database, narrow)
    assert (state, counts["too_large"], counts["replayed"]) == (JobState.DONE, 1, 2)
    assert [letter[3] for letter in await bench.letters()].count(LetterState.OPEN) == 1


async def test_a_rate_is_kept(bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is what the runner waited for: nobody sleeps here."""
    waited: list[float] = []

    async def wait(_: asyncio.Event, seconds: float) -> None:
        waited.append(seconds)
        bench.clock.ahead += seconds

    await dead(bench, 9)
    job = await ordered(bench.database, rate=4.0)
    monkeypatch.setattr("consumer.jobs.set_within", wait)
    began = bench.clock.monotonic()
    steps: list[int] = []
    await runner(bench.database, log, bench.clock).complete(job, steps.append)
    assert [step for step in steps if step] == [4, 4, 1]
    assert sum(waited) == pytest.approx(9 / 4, abs=bench.clock.monotonic() - began - sum(waited) + 0.01)


async def test_bodies_in_memory_are_bounded(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dead(bench, 4)
    monkeypatch.setattr("consumer.job_steps.BYTES", len(a_success("r_1")) * 2 + 10)
    job, steps = await ordered(bench.database), []
    await runner(bench.database, log).complete(job, steps.append)
    assert [step for step in steps if step] == [2, 2]


async def test_discarding_settles_letter_and_effect_and_a_replay_brings_both_back(
    bench: Bench, log: ScriptedLog
) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no")
    await log.append(TOPIC, a_success("r_1", total="12.5"))
    await log.append(TOPIC, b"rubbish")
    bench.caller.answers["r_2"] = [Refused("no_address", "nobody")]
    await log.append(TOPIC, a_success("r_2"))
    await bench.settle_all()
    state, counts = await worked_on(bench.database, log, kind=JobKind.DISCARD)
    assert (state, counts["discarded"]) == (JobState.DONE, 4)
    effects = await bench.effects()
    assert {key: effects[key][0] for key in effects if effects[key][0] != State.DONE} == {
        ("shop", "r_1", 0): State.DISCARDED,
        ("loyalty", "r_1", 0): State.DISCARDED,
        ("caller", "r_2", 0): State.DISCARDED,
    }
    assert (await worked_on(bench.database, log))[1] == dict.fromkeys(counts, 0)  # none is open
    assert not replays(log)
    _, counts = await worked_on(bench.database, log, DISCARDED)
    assert counts["replayed"] == 4
    mended = Bench(bench.database, log)
    await mended.settle_all()
    assert mended.shop.batches == [["r_1"]] and len(mended.caller.calls) == 1
    open_ = [letter[1] for letter in await mended.letters() if letter[3] == LetterState.OPEN]
    assert sorted(open_) == ["not_json", "unfit_amount"]
    assert (await mended.effects())["loyalty", "r_1", 0][0] == State.DEAD


async def test_a_discarded_refusal_that_a_replay_heals_leaves_no_row(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(TOPIC, a_success("r_1", total="12.5"))
    await bench.settle_all()
    await worked_on(bench.database, log, kind=JobKind.DISCARD)
    await worked_on(bench.database, log, DISCARDED)
    whole = a_success("r_1", total=1250)
    monkeypatch.setattr("consumer.drift.read_closely", lambda body: read(whole))
    mended = Bench(bench.database, log)
    await mended.settle_all()
    assert await mended.points() == 12
    assert ("loyalty", "r_1", 0) not in await mended.effects()


async def test_what_died_again_meanwhile_is_not_discarded(bench: Bench, log: ScriptedLog) -> None:
    """Discarded is what an operator has looked at: not what happened since."""
    await dead(bench, 1)
    discarding = await ordered(bench.database, kind=JobKind.DISCARD)
    await worked_on(bench.database, log)
    await runner(bench.database, log).complete(discarding, lambda letters: None)
    assert (await counts_of(bench.database, discarding))["passed_over"] == 1
    mended = Bench(bench.database, log)
    await mended.settle_all()
    assert len(mended.caller.calls) == 1


async def test_what_died_again_meanwhile_is_not_replayed_by_an_older_job(
    bench: Bench, log: ScriptedLog
) -> None:
    await dead(bench, 1)
    older = await ordered(bench.database)
    await worked_on(bench.database, log)
    again = Bench(bench.database, log)
    again.caller.answers["r_1"] = [Refused("no_address", "still nobody")]
    await again.settle_all()
    assert [letter[3:5] for letter in await again.letters()] == [(LetterState.OPEN, 1)]
    await runner(bench.database, log).complete(older, lambda letters: None)
    assert (await counts_of(bench.database, older))["passed_over"] == 1
    assert len(replays(log)) == 1


async def test_a_job_cancelled_after_its_runner_died_is_ended_by_another(
    bench: Bench, log: ScriptedLog
) -> None:
    await dead(bench, 1)
    job = await ordered(bench.database, owner="dead")
    await stand(bench.database, job, JobState.RUNNING, JobState.CANCELLED)
    async with bench.database.transaction() as transaction:
        await transaction.run("UPDATE jobs SET leased_until = 0")
    assert await runner(bench.database, log).complete(job, lambda letters: None) is JobState.CANCELLED
    assert await bench.rows("SELECT count(*) FROM jobs WHERE ended_at IS NULL") == [(0,)]
    assert not replays(log)


async def test_letters_are_grouped_by_cause(bench: Bench, log: ScriptedLog) -> None:
    await dead(bench, 4)
    await log.append(TOPIC, b"rubbish")
    await Bench(bench.database, log).settle_all()
    async with bench.database.snapshot() as snapshot:
        groups = [group async for group in group_letters(snapshot, OPEN)]
    assert [(group.handler, group.letters, group.died_again) for group in groups] == [
        ("caller", 4, 0),
        (None, 1, 0),
    ]
    one = LetterFilter(fingerprint=groups[0].fingerprint)
    async with bench.database.snapshot() as snapshot:
        found = [row async for row in find_letters(snapshot, one)]
    assert len(found) == 4 and groups[0].example in {row.id for row in found}
    assert groups[0].first_seen == min(row.first_seen for row in found)
    assert groups[0].last_seen == max(row.last_seen for row in found)
