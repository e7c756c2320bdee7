"""An erased customer: what was kept of them is gone, and nothing from before comes back by any way."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumer.letters import DEAD_LETTER_TOPIC
from events.failures import Refused
from handlers.protocol import Deferred
from storage.bundles import each_bundle
from storage.database import Database
from storage.erasing import erase
from storage.erasures import Customer, any_erasure, put_tombstone
from storage.letter_queries import LetterFilter
from storage.personal_data import personal_data
from storage.schema import LetterState, State
from tests.consumer.bench import LETTERS, Bench, a_rollback, a_success, until
from tests.consumer.orders import worked_on
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import backed_up

CUSTOMER = ("default", "cust_1")
NAME = "Anna Secret"
LATER = 4_000_000_000_000
"""A time in the log that is after every erasure here."""
DISCARDED, SKIPPED, DONE = State.DISCARDED, State.SKIPPED, State.DONE


def told(redemption: str, customer: str = "cust_1", date: str | None = None, **order: Any) -> bytes:
    body = json.loads(a_success(redemption, customer, **order))
    body["customer"]["name"] = NAME
    body["redemption"] |= {"date": date} if date else {}
    return json.dumps(body).encode()


async def erased(bench: Bench, customer: Customer = CUSTOMER) -> dict[str, int]:
    """What was erased, leaving out what there was nothing of."""
    counts: dict[str, int] = {}
    await erase(bench.database, customer, DEAD_LETTER_TOPIC, counts)
    return {name: count for name, count in counts.items() if count}


async def append(log: ScriptedLog, body: bytes, customer: str = "cust_1", **more: Any) -> None:
    await log.append(TOPIC, body, key=customer.encode(), **more)


async def everything(database: Database) -> str:
    """All that is in the database, as text."""
    async with database.snapshot() as snapshot:
        packed = [records async for _, records in each_bundle(snapshot)]
    return repr([packed, *(await backed_up(database)).values()])


async def kept(bench: Bench) -> list[str]:
    """The redemptions whose records are kept."""
    async with bench.database.snapshot() as snapshot:
        packed = [event[1] async for _, records in each_bundle(snapshot) for event in records]
    return sorted(packed + [row[0] for row in await bench.rows("SELECT redemption_id FROM payloads")])


async def again(bench: Bench) -> Bench:
    """Another worker after it, on the same log."""
    return Bench(bench.database, bench.log)


async def test_what_waits_is_discarded_and_its_record_gone(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.gate = asyncio.Event()
    await append(log, told("r_1"))
    await append(log, told("r_2", "cust_2"), "cust_2")
    async with bench.running():
        await until(lambda: len(bench.caller.calls) == 2)
        assert await erased(bench) == {"records": 1, "effects": 1}
        assert await bench.records() == 1
        bench.caller.gate.set()  # a call that was under way has nothing to say any more
        await bench.until_idle()
    effects = await bench.effects()
    assert effects["caller", "r_1", 0][::2] == (DISCARDED, "erased")
    assert effects["caller", "r_2", 0][0] == DONE
    assert await bench.points() == 100
    assert await bench.records() == 0


async def test_a_record_that_waits_long_is_found_too(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.answers = {redemption: [Deferred(3600, "quiet_hours")] for redemption in ("r_1", "r_2")}
    await append(log, told("r_1"))
    await append(log, told("r_2", "cust_2"), "cust_2")
    async with bench.running():
        await until(lambda: waiting(bench))
    assert await bench.scalar("SELECT count(*) FROM payloads") == 2
    assert await erased(bench) == {"records": 1, "effects": 1}
    assert await bench.records() == 1


async def waiting(bench: Bench) -> bool:
    return bool(await bench.scalar("SELECT count(*) = 2 FROM effects WHERE last_error LIKE 'deferred%'"))


async def test_a_record_without_a_key_is_found_by_its_body(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.gate = asyncio.Event()
    await log.append(TOPIC, told("r_1"), key=None)
    await log.append(TOPIC, told("r_2", "cust_10"), key=None)  # contains the id, and is another's
    async with bench.killed_at_the_end():
        await until(lambda: len(bench.caller.calls) == 2)
    assert await erased(bench) == {"records": 1, "effects": 1}


async def test_dead_letters_keep_ids_and_codes_and_nothing_else(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.answers["r_1"] = [Refused("no_address", "nobody to write to")]
    bench.shop.verdicts["r_1"] = ValueError(f"{NAME} is unknown")
    await append(log, told("r_1"), headers=[("tenant", b"default"), ("who", NAME.encode())])
    await bench.settle_all()
    assert NAME in await everything(bench.database)
    assert (await erased(bench))["letters"] == 2
    assert NAME not in await everything(bench.database)
    assert {(letter[1], letter[2], letter[3]) for letter in await bench.letters()} == {
        ("no_address", "r_1", LetterState.DISCARDED),
        ("handler_error", "r_1", LetterState.DISCARDED),
    }
    effects = await bench.effects()
    assert {effects[handler, "r_1", 0][0] for handler in ("caller", "shop")} == {DISCARDED}
    _, counts = await worked_on(bench.database, log, LetterFilter(states=(), customer_id="cust_1"))
    assert (counts["replayed"], counts["passed_over"]) == (0, 2)


async def test_a_letter_that_is_not_published_yet_is_not_published_any_more(
    bench: Bench, log: ScriptedLog
) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no")
    await append(log, told("r_1"))
    real, bench.log.append = bench.log.append, _refused  # type: ignore[method-assign]
    async with bench.killed_at_the_end():
        await until(lambda: _any_letter(bench))
    bench.log.append = real  # type: ignore[method-assign]
    await erased(bench)
    await (await again(bench)).settle_all()
    assert not any(log.topics[LETTERS].values())


async def _refused(*_: Any, **__: Any) -> tuple[int, int]:
    raise ConnectionError("the dead-letter topic is away")


async def _any_letter(bench: Bench) -> bool:
    return bool(await bench.letters())


@pytest.mark.parametrize(
    ("date", "time"),
    [(None, 1_700_000_000_000), ("2024-01-01T00:00:00Z", LATER), ("2999-01-01T00:00:00Z", 1_700_000_000_000)],
)
async def test_history_that_comes_again_calls_nobody_and_keeps_nothing(
    bench: Bench, log: ScriptedLog, date: str | None, time: int
) -> None:
    await erased(bench)
    await append(log, told("r_1", date=date), timestamp=time)
    await append(log, told("r_2", "cust_2", date=date), "cust_2", timestamp=time)
    await append(log, b'{"customer": {"id": "cust_1", "name": "Anna Secret"}}', timestamp=1_700_000_000_000)
    await append(log, told("r_3", total="12.5", date=date), timestamp=time)
    await bench.settle_all()
    assert bench.caller.calls == [("caller:default:succeeded:r_2", 1)]
    assert {id for batch in bench.shop.batches for id in batch} == {"r_2"}
    effects = await bench.effects()
    assert effects["caller", "r_1", 0] == effects["shop", "r_1", 0] == (SKIPPED, 0, "erased")
    assert await bench.points() == 100  # ids and numbers: the books stay right
    assert "Secret" not in await everything(bench.database)
    assert [letter[:3] for letter in await bench.letters()] == [("loyalty", "unfit_amount", "r_3")]
    published = [record for records in log.topics[LETTERS].values() for record in records]
    assert [record.value for record in published] == [b""]


async def test_a_replay_that_was_on_its_way_is_silenced(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.answers["r_1"] = [Refused("no", "no")]
    bench.shop.verdicts["r_1"] = ValueError("no")
    await append(log, told("r_1"))
    await bench.settle_all()
    before = {place: len(records) for place, records in log.topics[TOPIC].items()}
    await worked_on(bench.database, log)
    for place, records in log.topics[TOPIC].items():  # on the log they are younger than the erasure
        records[before[place] :] = [one._replace(timestamp=LATER) for one in records[before[place] :]]
    await erased(bench)
    later = await again(bench)
    await later.settle_all()
    assert (later.caller.calls, later.shop.batches) == ([], [])
    assert {state for state, *_ in (await later.effects()).values()} <= {DISCARDED, SKIPPED}
    assert NAME not in await everything(bench.database)


async def test_who_comes_back_is_served_again(bench: Bench, log: ScriptedLog) -> None:
    await append(log, told("r_1"))
    await bench.settle_all()
    await erased(bench)
    await append(log, told("r_2", date="2999-01-01T00:00:00Z"), timestamp=LATER)
    await append(log, a_rollback("r_2"), timestamp=LATER)
    later = await again(bench)
    await later.settle_all()
    assert len(later.caller.calls) == 2
    assert later.shop.batches == [["r_2"]]


async def test_another_tenants_customer_of_that_id_is_somebody_else(bench: Bench, log: ScriptedLog) -> None:
    await erased(bench)
    await append(log, told("r_1"), headers=[("tenant", b"other")])
    await bench.settle_all()
    assert len(bench.caller.calls) == 1


async def test_erasing_twice_is_erasing_once(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no")
    await append(log, told("r_1"))
    await bench.settle_all()
    first = await erased(bench)
    letters = await bench.letters()
    assert await erased(bench) == first
    assert await bench.letters() == letters


async def test_the_tombstone_waits_for_batches_that_know_nothing_of_it(postgres: Database) -> None:
    ended: list[str] = []

    async def entomb() -> None:
        async with postgres.transaction() as transaction:
            await put_tombstone(transaction, CUSTOMER)
        ended.append("tombstone")

    async with asyncio.TaskGroup() as tasks, postgres.transaction() as batch:
        assert not await any_erasure(batch)
        tasks.create_task(entomb())

        async def waits() -> bool:
            async with postgres.snapshot() as look:
                rows = await look.run("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(rows[0][0])

        await until(waits)
        ended.append("batch")
    assert ended == ["batch", "tombstone"]
    async with postgres.transaction() as batch:
        assert await any_erasure(batch)


async def test_all_that_is_kept_can_be_shown(bench: Bench, log: ScriptedLog) -> None:
    async def shown() -> AsyncIterator[tuple[str, dict[str, Any]]]:
        async with bench.database.snapshot() as snapshot:
            async for table, row in personal_data(snapshot, CUSTOMER):
                yield table, row

    bench.caller.gate = asyncio.Event()
    bench.shop.verdicts["r_1"] = ValueError("no")
    await append(log, told("r_1"))
    await append(log, told("r_2", "cust_2"), "cust_2")
    async with bench.killed_at_the_end():
        await until(lambda: len(bench.caller.calls) == 2)
    rows = [each async for each in shown()]
    tables = [table for table, _ in rows]
    assert set(tables) == {"balances", "entries", "facts", "payloads", "dead_letters", "effects"}
    assert not any("cust_2" in repr(row) or "r_2" in repr(row) for _, row in rows)
    assert sum(NAME in str(row.get("body")) for _, row in rows) == 2
    await erased(bench)
    rows = [each async for each in shown()]
    assert NAME not in repr(rows)
    assert rows[0][0] == "erasures"
