"""Pruning: what is closed and old goes, keys and open letters stay, and workers never notice."""

from typing import Any

import pytest

from events.failures import Refused
from handlers.protocol import Deferred
from storage.database import Database
from storage.letter_queries import LetterFilter
from storage.pruning import prune
from storage.schema import JobKind, LetterState
from tests.consumer.bench import Bench, a_success, until
from tests.consumer.orders import ordered, worked_on
from tests.consumer.scripted import TOPIC, ScriptedLog

LONG_AGO = 1_000


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
def bench(database: Database, log: ScriptedLog) -> Bench:
    return Bench(database, log)


async def died(bench: Bench, log: ScriptedLog, *redemptions: str) -> None:
    for redemption in redemptions:
        bench.caller.answers[redemption] = [Refused("no", "no")]
        await log.append(TOPIC, a_success(redemption))
    await bench.settle_all()


async def set_letters(bench: Bench, state: LetterState, redemption: str, last_seen: int = LONG_AGO) -> None:
    async with bench.database.transaction() as transaction:
        await transaction.run(
            "UPDATE dead_letters SET state = :state, last_seen = :seen WHERE redemption_id = :redemption",
            state=int(state),
            seen=last_seen,
            redemption=redemption,
        )


async def pruned(bench: Bench, **options: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    await prune(bench.database, 30, counts, **options)
    return counts


async def letters(bench: Bench) -> list[str]:
    return [row[0] for row in await bench.rows("SELECT redemption_id FROM dead_letters ORDER BY 1")]


async def test_closed_and_old_letters_go_and_no_others(bench: Bench, log: ScriptedLog) -> None:
    names = ["r_discarded", "r_new", "r_open", "r_replayed"]
    await died(bench, log, *names)
    await set_letters(bench, LetterState.DISCARDED, "r_discarded")
    await set_letters(bench, LetterState.REPLAYED, "r_replayed")
    await set_letters(bench, LetterState.OPEN, "r_open")
    await set_letters(bench, LetterState.REPLAYED, "r_new", last_seen=4_000_000_000_000)
    keys = "SELECT redemption_id, handler, kind, state FROM effects ORDER BY 1, 2, 3"
    effects = await bench.rows(keys)
    assert await pruned(bench, dry_run=True) == {"letters": 2, "records": 0, "job_items": 0}
    assert await letters(bench) == names
    assert await pruned(bench) == {"letters": 2, "records": 0, "job_items": 0}
    assert await letters(bench) == ["r_new", "r_open"]
    assert await pruned(bench) == {"letters": 0, "records": 0, "job_items": 0}
    # Not one key of an effect is missing: what comes again is a duplicate.
    assert await bench.rows(keys) == effects
    await log.append(TOPIC, a_success("r_discarded"))
    again = Bench(bench.database, log)
    await again.settle_all()
    assert (again.caller.calls, again.shop.batches) == ([], [])


async def test_more_letters_than_one_transaction_takes(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.pruning.AT_ONCE", 2)
    names = [f"r_{number}" for number in range(1, 6)]
    await died(bench, log, *names)
    for name in names:
        await set_letters(bench, LetterState.DISCARDED, name)
    assert (await pruned(bench))["letters"] == 5


async def test_a_letter_that_is_not_on_its_topic_yet_stays(bench: Bench, log: ScriptedLog) -> None:
    await died(bench, log, "r_1")
    await set_letters(bench, LetterState.DISCARDED, "r_1")
    async with bench.database.transaction() as transaction:
        await transaction.run("UPDATE effects SET state = 1 WHERE kind = 9")
    assert await pruned(bench) == {"letters": 0, "records": 0, "job_items": 0}


@pytest.mark.parametrize("seconds", [1, 3600], ids=["bundled", "alone"])
async def test_records_that_nothing_waits_for_go(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr("storage.stretches.ROWS", 2)
    monkeypatch.setattr("storage.bundles.MOST_BYTES", 1)
    monkeypatch.setattr("consumer.delivery.POLL_SECONDS", 3600.0)
    for number in range(1, 8):
        bench.caller.answers[f"r_{number}"] = [Deferred(seconds, "later")]
        await log.append(TOPIC, a_success(f"r_{number}"))

    async def all_wait() -> bool:
        return bool(await bench.scalar("SELECT count(*) = 7 FROM effects WHERE last_error LIKE 'deferred%'"))

    async with bench.killed_at_the_end():
        await until(all_wait)
    assert await bench.scalar("SELECT count(*) FROM bundles") == (7 if seconds == 1 else 0)
    async with bench.database.transaction() as transaction:
        await transaction.run("UPDATE effects SET state = 0 WHERE redemption_id < 'r_6' AND state = 1")
    assert await pruned(bench, dry_run=True) == {"letters": 0, "records": 5, "job_items": 0}
    assert await pruned(bench) == {"letters": 0, "records": 5, "job_items": 0}
    assert await bench.records() == 2


async def test_a_pruned_letter_whose_replay_dies_is_there_again(bench: Bench, log: ScriptedLog) -> None:
    await died(bench, log, "r_1")
    await worked_on(bench.database, log)
    await set_letters(bench, LetterState.REPLAYED, "r_1")
    assert (await pruned(bench))["letters"] == 1
    assert await bench.rows("SELECT * FROM letter_history") == []
    again = Bench(bench.database, log)
    again.caller.answers["r_1"] = [Refused("no", "no")]
    await again.settle_all()
    (letter,) = await again.letters()
    assert letter[2:5] == ("r_1", LetterState.OPEN, 1)


async def test_results_of_jobs_that_ended_long_ago_go(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.pruning.AT_ONCE", 2)
    await died(bench, log, "r_1", "r_2", "r_3")
    await worked_on(bench.database, log, kind=JobKind.DISCARD)
    assert (await pruned(bench))["job_items"] == 0
    async with bench.database.transaction() as transaction:
        await transaction.run("UPDATE jobs SET ended_at = :ago", ago=LONG_AGO)
    await ordered(bench.database, LetterFilter(states=()))  # one that goes on keeps its own
    assert (await pruned(bench, dry_run=True))["job_items"] == 3
    assert (await pruned(bench))["job_items"] == 3
    assert await bench.scalar("SELECT count(*) FROM job_items") == 3
    assert await bench.scalar("SELECT count(*) FROM jobs") == 2
