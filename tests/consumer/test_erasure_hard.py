"""Erasing when it is hard: hostile ids, contradictory bodies, crashes, workers at the same moment."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from consumer.letters import DEAD_LETTER_TOPIC
from events.failures import Refused, Unavailable
from handlers.protocol import Deferred
from storage.database import Database, Transaction
from storage.erasing import Erased, erase
from storage.filters_naming import filters_naming
from storage.letter_queries import LetterFilter
from tests.consumer.bench import Bench, a_rollback, until
from tests.consumer.orders import ordered
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.consumer.test_erasure import CUSTOMER, NAME, again, append, erased, everything, kept, told

HOSTILE = [
    "O'Brien'; DROP TABLE facts; --",
    'Ann "the" O\\u0041',
    "50%_off\\",
    "Zoë 🎁",
    "\u202egnp.exe",
    "%",
    ":id {rows} {now}",
    "null",
]
COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


async def with_all_kinds(bench: Bench, log: ScriptedLog) -> None:
    """Pending records, letters that are on their way, a call of a notification, a job that names her."""
    bench.caller.gate = asyncio.Event()
    bench.shop.verdicts |= {f"r_{number}": ValueError(f"{NAME} is unknown") for number in (1, 2, 3)}
    for number in range(1, 6):
        await append(log, told(f"r_{number}"))
    async with bench.killed_at_the_end():
        await until(lambda: len(bench.caller.calls) == 5)
    await ordered(bench.database, LetterFilter(customer_id="cust_1"))
    async with bench.database.transaction() as transaction:
        await transaction.run("UPDATE effects SET state = 1 WHERE kind = 9")
        await transaction.run("UPDATE jobs SET reason = :said", said=f"{NAME} called")
        await transaction.run("UPDATE audit SET reason = :said", said=f"{NAME} called")
        await transaction.run(
            "INSERT INTO notification_calls (tenant, subject, kind, call, state, customer_id, at) "
            "VALUES (:tenant, 'r_1', 0, 'crm:hello', 2, 'cust_1', 0)",
            tenant=transaction.names.id("default"),
        )


class Dying(Database):
    """A database under a process that dies at its n-th transaction, before or after the commit."""

    def __init__(self, real: Database, left: int, after: bool) -> None:
        super().__init__(real.engine, real.driver_of)
        self.left, self.after = left, after

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self.left -= 1
        async with super().transaction() as transaction:
            yield transaction
            if not self.left and not self.after:
                raise Unavailable("killed", "in the transaction")
        if not self.left:
            raise Unavailable("killed", "after the commit")


@pytest.mark.parametrize("after", [False, True])
async def test_killed_at_each_step_and_run_again(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr("storage.erasing.AT_ONCE", 2)
    await with_all_kinds(bench, log)
    assert NAME in await everything(bench.database)
    deaths = 0
    while True:
        try:
            await erase(Dying(bench.database, deaths + 1, after), CUSTOMER, DEAD_LETTER_TOPIC, {})
            break
        except Unavailable:
            deaths += 1
    assert deaths >= 4
    assert NAME not in await everything(bench.database)
    assert await bench.scalar("SELECT count(*) FROM notification_calls WHERE customer_id IS NOT NULL") == 0
    async with bench.database.snapshot() as snapshot:
        assert [each async for each in filters_naming(snapshot, CUSTOMER)] == []
    later = await again(bench)
    await later.settle_all()
    assert (later.caller.calls, later.shop.batches) == ([], [])
    assert NAME not in await everything(bench.database)
    assert await bench.points() == 500  # the books


@pytest.mark.parametrize("waits_long", [False, True], ids=["bundled", "alone"])
@pytest.mark.parametrize("id", HOSTILE)
async def test_exactly_this_customer(bench: Bench, log: ScriptedLog, id: str, waits_long: bool) -> None:
    near = [f"{id}x", f"x{id}", id.swapcase() + " ", "cust_2"]
    if waits_long:
        names = [f"r_{number}" for number in range(1, 6)] + ["r_bad", "r_fine"]
        bench.caller.answers = {name: [Deferred(3600, "quiet_hours")] for name in names}
    else:
        bench.caller.gate = asyncio.Event()
    bench.shop.verdicts = {"r_bad": ValueError("no"), "r_fine": ValueError("no")}
    for number, customer in enumerate([id, *near], 1):
        await log.append(TOPIC, told(f"r_{number}", customer), key=None)
    await log.append(TOPIC, told("r_bad", id), key=None)
    await log.append(TOPIC, told("r_fine", near[0]), key=None)
    async with bench.killed_at_the_end():
        await until(lambda: len(bench.caller.calls) == 7)
        await until(lambda: _stand_alone(bench, 7 if waits_long else 0))
    points = await bench.scalar("SELECT sum(points) FROM balances")
    counts = await erased(bench, ("default", id))
    assert counts == {"records": 2, "effects": 2, "letters": 1}
    assert await kept(bench) == ["r_2", "r_3", "r_4", "r_5", "r_fine"]
    letters = dict(await bench.rows("SELECT redemption_id, erased_at IS NOT NULL FROM dead_letters"))
    assert letters == {"r_bad": True, "r_fine": False}
    assert await bench.scalar("SELECT sum(points) FROM balances") == points
    assert await erased(bench, ("other", id)) == {}


async def _stand_alone(bench: Bench, count: int) -> bool:
    return bool(await bench.scalar("SELECT count(*) FROM payloads") == count)


async def test_two_spellings_of_a_name_are_two_customers(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.gate = asyncio.Event()
    await append(log, told("r_1", COMPOSED), COMPOSED)
    await append(log, told("r_2", DECOMPOSED), DECOMPOSED)
    async with bench.killed_at_the_end():
        await until(lambda: len(bench.caller.calls) == 2)
    assert await erased(bench, ("default", DECOMPOSED)) == {"records": 1, "effects": 1}
    assert await kept(bench) == ["r_1"]


async def test_a_body_that_contradicts_itself_is_of_both(bench: Bench, log: ScriptedLog) -> None:
    both = json.loads(told("r_1", "cust_2"))
    both["redemption"]["customer_id"] = "cust_1"
    bench.shop.verdicts["r_1"] = ValueError("no")
    await append(log, json.dumps(both).encode(), "cust_2")
    await bench.settle_all()
    assert (await erased(bench))["letters"] == 1
    assert NAME not in await everything(bench.database)


async def test_a_rollback_that_leaves_the_customer_out(bench: Bench, log: ScriptedLog) -> None:
    rollback = json.loads(a_rollback("r_1")) | {"voucher": {"holder": {"name": NAME}}}
    body = json.dumps(rollback).encode()
    await append(log, told("r_1"))
    await bench.settle_all()
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, body, key=b"r_1")
    waiting = await again(bench)
    waiting.caller.gate = asyncio.Event()
    async with waiting.killed_at_the_end():
        await until(lambda: len(waiting.caller.calls) == 1)
    assert await erased(bench) == {"records": 1, "effects": 1}
    await log.append(TOPIC, body, key=b"r_1")
    later = await again(bench)
    await later.settle_all()
    assert later.caller.calls == []
    assert NAME not in await everything(bench.database)
    assert await bench.points() == 0


async def test_what_nobody_can_read_is_told_not_erased(bench: Bench, log: ScriptedLog) -> None:
    bodies = [
        (b'{"customer": {"id": "cust_1", "name": "Ann', None),  # torn: it may be hers
        (b'{"note": "cust_1"}', b"cust_1"),  # read, and it names nobody: the key is that of an order, say
        (b'{"customer": {"id": "cust_2"}, "x', b"cust_2"),
        (b'{"torn', b"cust_1"),  # the key alone tells
    ]
    for body, key in bodies:
        await log.append(TOPIC, body, key=key)
    await bench.settle_all()
    counts: dict[str, int] = {}
    answer = await erase(bench.database, CUSTOMER, DEAD_LETTER_TOPIC, counts)
    assert counts["letters"] == 1
    left = dict(await bench.rows("SELECT value, id FROM dead_letters WHERE erased_at IS NULL"))
    assert set(left) == {body for body, _ in bodies[:3]}
    assert answer == Erased(answer.at, (left[bodies[0][0]],))


async def test_filters_forget_whom_they_named_and_jobs_go_on(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts = {"r_1": ValueError("no"), "r_2": ValueError("no")}
    await append(log, told("r_1"))
    await append(log, told("r_2", "cust_2"), "cust_2")
    await bench.settle_all()
    for wanted in (
        LetterFilter(customer_id="cust_1", tenant="default"),
        LetterFilter(customer_id="cust_1", tenant="other"),
        LetterFilter(customer_id="cust_2"),
        LetterFilter(reason="cust_1"),
    ):
        await ordered(bench.database, wanted)
    assert await erased(bench) == {"letters": 1, "filters": 2}
    named = await bench.rows("SELECT count(*), reason FROM jobs GROUP BY reason ORDER BY reason")
    assert named == [(3, "because"), (1, "erased")]
    assert await erased(bench) == {"letters": 1}
    async with bench.database.snapshot() as snapshot:
        others = [each async for each in filters_naming(snapshot, ("other", "cust_1"))]
    assert {each.table for each in others} == {"jobs", "audit"}


async def test_a_batch_under_way_is_waited_for_and_swept(bench: Bench, log: ScriptedLog) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_: Transaction) -> None:
        inside.set()
        await go_on.wait()

    bench.caller.gate = asyncio.Event()
    bench.shop.verdicts["r_1"] = slowly
    bench.shop.verdicts["r_2"] = ValueError("no")
    await append(log, told("r_2"))
    await append(log, told("r_1"))  # a batch that ends in a death is settled twice: the guard looks further
    async with asyncio.TaskGroup() as tasks, bench.killed_at_the_end():
        await inside.wait()  # the batch has looked for tombstones, and found none
        erasing = tasks.create_task(erased(bench))
        await asyncio.sleep(0)
        go_on.set()
        counts = await erasing
    assert (counts["records"], counts["letters"]) == (2, 1)
    assert NAME not in await everything(bench.database)


async def test_beside_two_workers_that_never_stop(postgres: Database) -> None:
    """Real concurrency: whatever is stored at the moment of the erasure is swept, or never stored."""
    logs = [ScriptedLog(), ScriptedLog()]
    benches = [Bench(postgres, log, max_records=3, group=f"group_{at}") for at, log in enumerate(logs)]
    for at, (bench, log) in enumerate(zip(benches, logs, strict=True)):
        for number in range(60):
            redemption = f"r_{at}_{number}"
            customer = "cust_1" if number % 3 else "cust_2"
            if number % 4 == 1:
                bench.shop.verdicts[redemption] = ValueError(f"{NAME} is unknown")
            if number % 4 == 2:
                bench.caller.answers[redemption] = [Refused("no", f"{NAME} has no address")]
            if number % 4 == 3:
                bench.caller.answers[redemption] = [Unavailable("busy", NAME)]
            await append(log, told(redemption, customer), customer)

    async def begun() -> bool:
        return bool(await benches[0].scalar("SELECT count(*) FROM dead_letters") > 5)

    async with benches[0].running(), benches[1].running():
        await until(begun)
        assert benches[0].log.lag and benches[1].log.lag
        await erased(benches[0])
        for bench in benches:
            await bench.until_idle()
    values = await benches[0].rows("SELECT value FROM dead_letters UNION ALL SELECT value FROM payloads")
    assert not [value for (value,) in values if b'"cust_1"' in value]
    assert await kept(benches[0]) == []
    letters: list[tuple[Any, ...]] = await benches[0].rows(
        "SELECT customer_id, error FROM dead_letters WHERE erased_at IS NULL"
    )
    assert {customer for customer, _ in letters} == {"cust_2"}
    assert await benches[0].points() == 2 * 40 * 100
