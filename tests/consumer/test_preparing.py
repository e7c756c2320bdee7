"""Handlers compute ahead of the next batch while the database works, and may fail at it."""

import asyncio
from collections.abc import Sequence

import pytest

from events.event import RedemptionEvent
from storage.database import Transaction
from tests.consumer.bench import Bench, Shop, a_rollback, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import FlakyDatabase


class FarSighted(Shop):
    """Notes what it was to prepare."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[list[str]] = []
        self.fails = False

    async def prepare(self, events: Sequence[RedemptionEvent]) -> None:
        self.prepared.append([event.redemption_id for event in events])
        if self.fails:
            raise ZeroDivisionError


@pytest.fixture
def shop() -> FarSighted:
    return FarSighted()


@pytest.fixture
def bench(flaky: FlakyDatabase, log: ScriptedLog, shop: FarSighted, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("consumer.intake.SMALL", 0)
    return Bench(flaky, log, shop=shop)


async def test_the_next_batch_is_prepared_while_this_one_is_stored(
    bench: Bench, log: ScriptedLog, shop: FarSighted
) -> None:
    go = asyncio.Event()

    async def held(_: Transaction) -> None:
        await go.wait()

    shop.verdicts["r_1"] = held
    await log.append(TOPIC, a_success("r_1"))
    async with bench.running():
        await until(lambda: bool(shop.batches))
        await log.append(TOPIC, a_success("r_2"))
        await until(lambda: ["r_2"] in shop.prepared)
        assert shop.batches == [["r_1"]]
        go.set()
        await bench.until_idle()
    assert shop.prepared == shop.batches == [["r_1"], ["r_2"]]


async def test_only_the_kinds_that_a_handler_takes_are_prepared(
    bench: Bench, log: ScriptedLog, shop: FarSighted
) -> None:
    await log.append(TOPIC, a_rollback("r_2"))
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert [id_ for batch in shop.prepared for id_ in batch] == ["r_1"]


async def test_a_handler_that_cannot_prepare_is_applied_all_the_same(
    bench: Bench, log: ScriptedLog, shop: FarSighted
) -> None:
    shop.fails = True
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert shop.batches == [["r_1"]]
    assert await bench.letters() == []
