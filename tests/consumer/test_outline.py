"""Which good records are looked at from afar: the first ones all, later a few of many."""

from typing import Any

import pytest

import consumer.outline
from broker.protocols import Record
from consumer.item import read_item
from consumer.outline import EACH, FIRST, SAMPLES, Outlines
from storage.database import Database
from tests.consumer.bench import TOPIC, a_success


async def test_small_batches_share_the_looks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, look = 0, consumer.outline.outline_of

    def counted(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return look(*given)

    monkeypatch.setattr(consumer.outline, "outline_of", counted)
    outlines = Outlines()
    item = read_item(Record(TOPIC, 0, 0, 0, None, a_success("r_1"), ()), "group")
    async with database.transaction() as transaction:
        for _ in range(FIRST):
            await outlines.read(transaction, [item])
        assert looks == FIRST
        for _ in range(EACH * 10):
            await outlines.read(transaction, [item])
        assert FIRST + 10 <= looks <= FIRST + 16  # those of the first ones count as well
        before = looks
        for _ in range(10):
            await outlines.read(transaction, [item] * EACH * SAMPLES * 2)
        assert looks == before + 10 * SAMPLES
