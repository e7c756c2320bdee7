"""An effect that comes after those of other handlers for the same event: not before they have settled."""

import asyncio

import pytest

from events.failures import Refused
from storage.database import Database
from storage.schema import State
from tests.consumer.bench import Bench, Caller, a_rollback, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog


class Second(Caller):
    after: tuple[str, ...] = ("caller",)
    on_unknown = "retry"

    def __init__(self) -> None:
        super().__init__("second")


@pytest.fixture
def second() -> Second:
    return Second()


async def put_off(bench: Bench, count: int = 1) -> bool:
    waiting = "SELECT count(*) FROM effects WHERE state = 1 AND last_error LIKE 'deferred: waits for %'"
    return bool(await bench.scalar(waiting) == count)


async def test_it_waits_for_the_effect_of_another_handler_and_uses_up_no_try(
    database: Database, log: ScriptedLog, second: Second
) -> None:
    bench = Bench(database, log, effects=[second])
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: put_off(bench))
        assert second.calls == []
        bench.caller.gate.set()
        await bench.until_idle()
    assert second.calls == [("second:default:succeeded:r_1", 1)]
    assert (await bench.effects())["second", "r_1", 0] == (State.DONE, 1, None)


async def test_it_does_not_wait_for_a_letter_nor_for_what_was_not_wanted(
    database: Database, log: ScriptedLog, second: Second
) -> None:
    bench = Bench(database, log, effects=[second])
    bench.caller.answers["r_1"] = [Refused("no", "not this one")]
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert len(second.calls) == 1
    second.wants = lambda event: True  # type: ignore[method-assign]
    await log.append(TOPIC, a_success("r_unwanted"))
    again = Bench(database, log, effects=[second])
    await again.settle_all()
    assert len(second.calls) == 2
    assert again.caller.calls == []


async def test_what_settles_in_the_transaction_that_stores_it_holds_up_nobody(
    database: Database, log: ScriptedLog, second: Second
) -> None:
    second.after = ("loyalty", "shop")
    bench = Bench(database, log, effects=[second])
    assert bench.worker._deliveries["second"]._work.predecessors is None


@pytest.mark.parametrize("body", [a_success("r_1"), a_rollback("r_1")], ids=["wanted", "not wanted"])
async def test_it_waits_until_the_group_that_runs_the_others_has_come_so_far(
    database: Database, log: ScriptedLog, second: Second, body: bytes
) -> None:
    second.after = ("shop",)
    others = ScriptedLog()
    alone = Bench(database, log, caller=second, transactional=False, effects=[], group="redemptions.second")
    for place in (log, others):
        await place.append(TOPIC, body)
    async with alone.running():
        await until(lambda: put_off(alone))
        assert second.calls == []
        behind = Bench(database, others)
        await behind.settle_all()
        await alone.until_idle()
    assert len(second.calls) == 1


async def test_what_may_have_been_carried_out_is_not_put_off_and_then_repeated(
    database: Database, log: ScriptedLog, second: Second
) -> None:
    """Whoever claims what was put off does not learn that somebody was lost in the middle of its call."""
    second.on_unknown = "give_up"
    second.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    killed = Bench(database, log, effects=[second])
    async with killed.killed_at_the_end():
        await until(second.called.is_set)
    async with database.transaction() as transaction:
        await transaction.run("UPDATE effects SET leased_until = {now} - 1 WHERE state = 1")
        # A replay has revived the handler ahead, and somebody works on it.
        await transaction.run(
            "UPDATE effects SET state = 1, due_at = {now}, leased_until = {now} + 3600000 "
            "WHERE handler = (SELECT id FROM names WHERE name = 'caller')"
        )
    bench = Bench(database, log, effects=[second])
    second.gate = None
    async with bench.running():
        await until(bench.letters)
    assert [row[:3] for row in await bench.letters()] == [("second", "outcome_unknown", "r_1")]
    assert len(second.calls) == 1
