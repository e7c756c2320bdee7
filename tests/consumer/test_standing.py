"""A handler that stands still: its effects wait, and nothing else does."""

import asyncio

from storage.database import Database
from storage.effect_queries import work_remains
from storage.handler_states import Standing, handler_states, resume_handler, spend_allowance, stop_handler
from storage.schema import State
from tests.consumer.bench import Bench, Caller, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog


async def stop(database: Database, handler: str, standing: Standing = Standing.PAUSED) -> bool:
    async with database.transaction() as transaction:
        return await stop_handler(transaction, handler, standing, "ada", "why not")


async def resume(database: Database, handler: str, allowance: int = 0) -> bool:
    async with database.transaction() as transaction:
        return await resume_handler(transaction, handler, "bob", "", allowance)


async def remains(database: Database) -> bool:
    async with database.snapshot() as snapshot:
        return await work_remains(snapshot, 60_000)


async def test_the_effects_of_a_paused_handler_wait_and_all_else_goes_on(
    database: Database, log: ScriptedLog
) -> None:
    bench = Bench(database, log, effects=[other := Caller("other")])
    await stop(database, "caller")
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: not log.lag and len(other.calls) == 1)

        async def only_its_own_wait() -> bool:
            return await bench.pending() == 1 and not await remains(database)

        await until(only_its_own_wait)
        for _ in range(3):
            bench.worker._deliveries["caller"].wake()
            await asyncio.sleep(0.02)
        assert bench.caller.calls == []
        assert (await bench.effects())["caller", "r_1", 0] == (State.PENDING, 0, None)
        await resume(database, "caller")
        assert await remains(database)
        await bench.until_idle()
    assert len(bench.caller.calls) == 1


async def test_a_try_that_runs_when_its_handler_is_paused_ends_as_it_would(
    bench: Bench, log: ScriptedLog
) -> None:
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: len(bench.caller.calls) == 1)
        await stop(bench.database, "caller")
        assert await remains(bench.database)
        bench.caller.gate.set()
        await bench.until_idle()
    assert (await bench.effects())["caller", "r_1", 0][0] == State.DONE


async def test_who_stopped_it_first_is_remembered_until_it_is_resumed(database: Database) -> None:
    assert await stop(database, "caller", Standing.HALTED)
    assert not await stop(database, "caller")
    async with database.snapshot() as snapshot:
        state = (await handler_states(snapshot))["caller"]
    assert (state.standing, state.who, state.reason) == (Standing.HALTED, "ada", "why not")
    assert await resume(database, "caller", 30)
    assert not await resume(database, "caller")
    async with database.transaction() as transaction:
        await spend_allowance(transaction, "caller", 20)
        assert (await handler_states(transaction))["caller"].allowance == 10
        await spend_allowance(transaction, "caller", 20)
        state = (await handler_states(transaction))["caller"]
    assert (state.stands, state.who, state.allowance) == (False, "bob", 0)
