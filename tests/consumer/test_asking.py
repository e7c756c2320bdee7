"""What effect handlers ask for is worked out ahead of the batch, and used only where it still fits."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from broker.protocols import Record
from consumer import asking as module
from consumer.asking import Asked, Asking
from consumer.batch import Batch
from consumer.item import Item, payload_of, read_item
from consumer.newcomers import Newcomers
from events.event import RedemptionEvent
from events.runtime import SystemRuntime
from handlers.protocol import Handlers
from storage.bundles import each_bundle, unpack
from storage.database import Database
from storage.names import Names
from tests.consumer.bench import GROUP, Bench, Caller, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import FlakyDatabase

NAMES = Names({"default": 1, "caller": 2})


class Choosy(Caller):
    """Counts how often it is asked for each redemption."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Counter[str]()

    def wants(self, event: RedemptionEvent) -> bool:
        self.asked[event.redemption_id] += 1
        return super().wants(event)


def items_of(*redemptions: str) -> list[Item]:
    return [
        read_item(Record(TOPIC, 0, offset, 0, b"key", a_success(redemption), ()), GROUP)
        for offset, redemption in enumerate(redemptions)
    ]


@pytest.fixture
def caller() -> Choosy:
    return Choosy()


@pytest.fixture
async def asking(caller: Choosy) -> Asking:
    """Has seen a batch."""
    asking = Asking((caller,), SystemRuntime())
    asking.asked(items_of("r_before"), NAMES)
    return asking


async def test_what_was_worked_out_ahead_is_used_once(asking: Asking, caller: Choosy) -> None:
    items = items_of("r_1", "r_2", "r_unwanted")
    await asking.prepare(items)
    asked = asking.asked(items, NAMES)
    assert [mark.redemption_id for mark in asked.marks["caller"].values()] == ["r_1", "r_2"]
    assert caller.asked == {"r_before": 1, "r_1": 1, "r_2": 1, "r_unwanted": 1}
    (parcel,) = asked.parcels
    assert parcel.packed is not None
    assert list(unpack(parcel.packed).values()) == [payload_of(item.record) for item in items[:2]]
    asking.asked(items, NAMES)
    assert caller.asked["r_1"] == 2


CHANGES: dict[str, Callable[[list[Item]], tuple[list[Item], Names]]] = {
    "an item is another": lambda items: ([replace(items[0], only=frozenset()), items[1]], NAMES),
    "the last one is cut off": lambda items: (items[:1], NAMES),
    "a restored database has other numbers": lambda items: (items, Names({"default": 2, "caller": 1})),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_does_not_fit_any_more_is_worked_out_anew(asking: Asking, change: str) -> None:
    items = items_of("r_1", "r_2")
    await asking.prepare(items)
    changed, names = CHANGES[change](items)
    expected = Asking((Caller(),)).asked(changed, names)
    asked = asking.asked(changed, names)
    assert asked == expected
    assert all(parcel.packed is None for parcel in asked.parcels)


async def test_a_parcel_holds_what_it_is_asked_for(asking: Asking) -> None:
    items = items_of("r_1", "r_2", "r_3")
    await asking.prepare(items)
    (parcel,) = asking.asked(items, NAMES).parcels
    events = list(parcel.records)
    assert parcel.of(events) is parcel.packed
    assert set(unpack(parcel.of(events[1:]))) == set(events[1:])


async def test_of_an_event_that_comes_twice_the_first_record_is_kept(asking: Asking) -> None:
    first, again = items_of("r_1", "r_1")
    asked = asking.asked([first, again], NAMES)
    assert list(asked.marks["caller"]) == [0, 1]
    (parcel,) = asked.parcels
    assert list(parcel.records.values()) == [first]


async def test_what_is_known_of_already_is_not_kept_again(database: Database, caller: Choosy) -> None:
    asking, handlers = Asking((caller,), SystemRuntime()), Handlers((), (caller,))
    for redemptions in (("r_1", "r_2"), ("r_2", "r_3", "r_3")):
        items = items_of(*redemptions)
        await asking.prepare(items)
        async with database.transaction() as transaction:
            newcomers = Newcomers({}, SystemRuntime().token())
            batch = Batch(items, handlers, GROUP, transaction, newcomers, asking=asking)
            await batch.settle(TOPIC, {0: 2})
    async with database.snapshot() as snapshot:
        kept = [sorted(event[1] for event in records) async for _, records in each_bundle(snapshot)]
        effects = await snapshot.run("SELECT effects FROM bundles ORDER BY effects")
    assert sorted(kept) == [["r_1", "r_2"], ["r_3"]]
    assert [row.effects for row in effects] == [1, 2]


@pytest.fixture
async def packings(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[bool]]:
    """For each batch, whether its records had been packed ahead."""
    found: list[bool] = []
    real = Asking.asked

    def asked(self: Asking, items: list[Item], names: Names) -> Asked:
        answer = real(self, items, names)
        found.append(all(parcel.packed is not None for parcel in answer.parcels))
        return answer

    monkeypatch.setattr(module.Asking, "asked", asked)
    yield found


async def test_a_worker_packs_the_next_batch_while_this_one_is_stored(
    flaky: FlakyDatabase, log: ScriptedLog, packings: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.intake.SMALL", 0)
    bench, go, begun = Bench(flaky, log), asyncio.Event(), asyncio.Event()

    async def held(_: object) -> None:
        begun.set()
        await go.wait()

    bench.shop.verdicts["r_1"] = held
    await log.append(TOPIC, a_success("r_3"))
    async with bench.running():
        await bench.until_idle()
        await log.append(TOPIC, a_success("r_1"))
        await begun.wait()
        await log.append(TOPIC, a_success("r_2"))
        await until(lambda: not bench.worker._intake.idle)
        go.set()
        await bench.until_idle()
    assert packings == [False, True, True]
    called = sorted(key.rpartition(":")[2] for key, _ in bench.caller.calls)
    assert called == ["r_1", "r_2", "r_3"]
