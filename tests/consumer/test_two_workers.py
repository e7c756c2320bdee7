"""Two workers on PostgreSQL at the same moment, on the same redemptions in different partitions."""

import asyncio
import random

import pytest

from storage.database import Database
from storage.schema import State
from tests.consumer.bench import Bench, a_rollback, a_success
from tests.consumer.scripted import TOPIC, ScriptedLog

pytestmark = pytest.mark.postgres

REDEMPTIONS = 60
ROLLED_BACK = 20
CUSTOMERS = 3


async def test_effects_happen_once_and_balances_are_right(postgres: Database, log: ScriptedLog) -> None:
    """Every delivery comes by both partitions, in different orders, in small batches that overlap."""
    chance = random.Random(7)
    for partition in (0, 1):
        bodies = [
            a_success(f"r_{number}", customer=f"cust_{number % CUSTOMERS}", id=f"ord_{number // 2}")
            for number in range(1, REDEMPTIONS + 1)
        ]
        bodies += [a_rollback(f"r_{number}") for number in range(1, ROLLED_BACK + 1)] + [b"rubbish"]
        chance.shuffle(bodies)
        for body in bodies:
            await log.append(TOPIC, body, partition=partition)
    first, second = (Bench(postgres, log, max_records=7) for _ in range(2))
    async with first.running(), second.running():
        first.consumer.assign([0])
        second.consumer.assign([1])
        await first.until_idle()
    calls = first.caller.calls + second.caller.calls
    assert len(calls) == len(set(calls)) == REDEMPTIONS + ROLLED_BACK
    assert await first.scalar("SELECT count(*) FROM sales") == REDEMPTIONS
    assert {row[0] for row in await first.rows("SELECT DISTINCT state FROM effects")} == {State.DONE}
    assert [letter[:2] for letter in await first.letters()] == [(None, "not_json")] * 2
    # Two redemptions on most orders, each order counts once: for whatever is left of it.
    live = {number // 2 for number in range(ROLLED_BACK + 1, REDEMPTIONS + 1)}
    assert sum([await first.points(f"cust_{number}") for number in range(CUSTOMERS)]) == 100 * len(live)
    assert await first.scalar("SELECT sum(points) = (SELECT sum(points) FROM balances) FROM entries")
    assert await first.scalar("SELECT count(*) FROM payloads") == 0


async def test_a_burst_of_the_same_redemption_is_one(postgres: Database, log: ScriptedLog) -> None:
    benches = [Bench(postgres, log) for _ in range(2)]
    for _ in range(50):
        for partition in (0, 1):
            await log.append(TOPIC, a_success("r_1"), partition=partition)
    async with asyncio.TaskGroup() as tasks:
        for bench in benches:
            tasks.create_task(bench.settle_all())
    assert await benches[0].points() == 100
    assert len(benches[0].caller.calls) + len(benches[1].caller.calls) == 1
