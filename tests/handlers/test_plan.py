"""What the ledger computes ahead of a batch is used for that batch alone, and only while it still holds."""

import sys
from collections.abc import Sequence

import pytest

from events.event import RedemptionEvent
from handlers.loyalty import handler as loyalty
from handlers.loyalty.handler import Loyalty
from storage.database import Database
from tests.handlers.books import Books
from tests.handlers.deliveries import a_sale


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each plan was made of."""
    made: list[int] = []
    plan_of = loyalty.plan_of

    async def counting(events: Sequence[RedemptionEvent], *rest: object) -> object:
        made.append(len(events))
        return await plan_of(events, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(loyalty, "plan_of", counting)
    return made


def bought(redemption: str, customer: str = "anna") -> RedemptionEvent:
    """100 points' worth."""
    return a_sale(redemption, customer, f"ord_{redemption}", 10_000)


async def apply(ledger: Loyalty, database: Database, *events: RedemptionEvent) -> None:
    async with database.transaction() as transaction:
        await ledger.apply(events, transaction)


async def test_a_batch_that_was_prepared_is_not_planned_again(database: Database, planned: list[int]) -> None:
    books, ledger = Books(database), Loyalty()
    await apply(ledger, database, bought("r_1"))
    second = [bought("r_2"), bought("r_3")]
    await ledger.prepare(second)
    third = [bought("r_4")]
    await ledger.prepare(third)  # while the second is being stored
    await apply(ledger, database, *second)
    await apply(ledger, database, *third)
    assert planned == [1, 2, 1]
    assert await books.points() == 400
    assert await books.findings() == []


async def test_a_part_of_what_was_prepared_is_planned_by_itself(database: Database) -> None:
    books, ledger = Books(database), Loyalty()
    await apply(ledger, database, bought("r_1"))
    events = [bought("r_2"), bought("r_3"), bought("r_4")]
    await ledger.prepare(events)
    await apply(ledger, database, *events[:1])
    await apply(ledger, database, *events[1:])
    assert await books.points() == 400


async def test_others_than_were_prepared_are_planned_by_themselves(database: Database) -> None:
    books, ledger = Books(database), Loyalty()
    await apply(ledger, database, bought("r_1"))
    await ledger.prepare([bought("r_2", "bert")])
    await apply(ledger, database, bought("r_3"))
    assert await books.balances_of() == {"anna": 200}


async def test_a_database_that_knows_tenants_by_other_numbers_gets_no_old_plan(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    books, ledger = Books(database), Loyalty()
    await apply(ledger, database, bought("r_1"))
    events = [bought("r_2")]
    await ledger.prepare(events)
    async with database.transaction() as transaction:  # as if restored from a backup of other times
        for table in ("names", "facts", "orders", "entries", "balances"):
            await transaction.run(f"DELETE FROM {table}")  # noqa: S608 - our own names
        await transaction.read_names()
        await transaction.learn(["somebody-else"])
        await transaction.learn([events[0].tenant])
    await apply(ledger, database, *events)
    assert await books.points() == 100
    assert await books.balances_of("somebody-else") == {}


async def test_nothing_holds_on_to_a_batch_that_was_applied(database: Database) -> None:
    ledger = Loyalty()
    await apply(ledger, database, bought("r_1"))
    event = bought("r_2")
    before = sys.getrefcount(event)
    await ledger.prepare([event])
    assert sys.getrefcount(event) > before
    await apply(ledger, database, event)
    assert sys.getrefcount(event) == before
