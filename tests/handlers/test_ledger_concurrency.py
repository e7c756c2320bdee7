"""Two workers at the same moment, with real locks: whoever comes second waits, and then sees everything."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from events.event import RedemptionEvent
from events.failures import Unavailable
from handlers.loyalty.handler import Loyalty
from tests.handlers.books import Books
from tests.handlers.deliveries import a_rollback, a_sale
from tests.handlers.model import Telling, expected_balances
from tests.handlers.test_ledger_properties import delivered

pytestmark = pytest.mark.postgres


@asynccontextmanager
async def while_uncommitted(books: Books, *events: RedemptionEvent) -> AsyncIterator[None]:
    """Another worker has applied these, and commits at the end of the block."""
    async with books.database.transaction() as transaction:
        await Loyalty().apply(events, transaction)
        yield


async def until_somebody_waits(books: Books) -> None:
    """Returns once a transaction waits for a lock of another."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    found = False
    async with asyncio.timeout(30):
        while not found:
            # In a new transaction each time: within one, PostgreSQL shows the same activity again.
            async with books.database.snapshot() as transaction:
                found = bool(await transaction.run(waiting))


async def overlapping(
    books: Books, first: Sequence[RedemptionEvent], second: Sequence[RedemptionEvent]
) -> None:
    """The second worker starts while the first has written everything and committed nothing."""
    async with asyncio.TaskGroup() as workers, while_uncommitted(books, *first):
        other = workers.create_task(books.apply(*second))
        await until_somebody_waits(books)
        assert not other.done()
    assert await books.findings() == []


async def test_one_new_order_at_the_same_moment_gets_its_points_once(postgres_books: Books) -> None:
    one = a_sale("r_1", total=10_000, total_discount_amount=500)
    other = a_sale("r_2", total=7_500, total_discount_amount=3_000)
    await overlapping(postgres_books, [one], [other])
    assert await postgres_books.points() == 75


async def test_one_known_order_at_the_same_moment_loses_no_difference(postgres_books: Books) -> None:
    await postgres_books.apply(a_sale("r_1", total=10_000))
    lower = a_sale("r_2", total=9_000, total_discount_amount=1_000)
    lowest = a_sale("r_3", total=5_000, total_discount_amount=5_000)
    await overlapping(postgres_books, [lowest], [lower])
    assert await postgres_books.points() == 50


async def test_a_redemption_that_changes_nothing_yet_is_seen_by_the_worker_that_undoes_the_other(
    postgres_books: Books,
) -> None:
    await postgres_books.apply(a_sale("r_1", total=10_000, total_discount_amount=500))
    # Writes nothing to the order: only its lock holds the other worker back until the facts can be seen.
    await overlapping(postgres_books, [a_sale("r_2", total=6_000)], [a_rollback("r_1")])
    assert await postgres_books.points() == 60


async def test_the_same_redemption_at_the_same_moment_earns_once(postgres_books: Books) -> None:
    await overlapping(postgres_books, [a_sale(total=1_000)], [a_sale(total=1_000)])
    assert await postgres_books.points() == 10
    assert len(await postgres_books.entries()) == 1


async def test_two_orders_of_one_customer_at_the_same_moment_add_up(postgres_books: Books) -> None:
    one, other = a_sale("r_1", order="ord_1", total=1_000), a_sale("r_2", order="ord_2", total=2_000)
    await overlapping(postgres_books, [one], [other])
    assert await postgres_books.points() == 30


async def test_a_reversal_waits_for_the_success_it_undoes(postgres_books: Books) -> None:
    await overlapping(postgres_books, [a_sale(total=1_000)], [a_rollback()])
    assert await postgres_books.points() == 0


async def test_a_success_waits_for_its_reversal(postgres_books: Books) -> None:
    await overlapping(postgres_books, [a_rollback()], [a_sale(total=1_000)])
    assert await postgres_books.points() == 0


@pytest.mark.parametrize("parent_known", [True, False])
async def test_a_parents_reversal_while_another_worker_stores_its_child(
    postgres_books: Books, parent_known: bool
) -> None:
    if parent_known:
        await postgres_books.apply(a_sale("r_p", order="ord_p", voucher=False, total=500))
    await overlapping(postgres_books, [a_sale("r_c", parent="r_p", total=1_000)], [a_rollback("r_p")])
    assert await postgres_books.points() == 0


@pytest.mark.parametrize("parent_known", [True, False])
async def test_a_child_stored_while_another_worker_reverses_its_parent(
    postgres_books: Books, parent_known: bool
) -> None:
    if parent_known:
        await postgres_books.apply(a_sale("r_p", order="ord_p", voucher=False, total=500))
    await overlapping(postgres_books, [a_rollback("r_p")], [a_sale("r_c", parent="r_p", total=1_000)])
    assert await postgres_books.points() == 0


@pytest.mark.parametrize("reversal_first", [True, False])
async def test_a_childs_order_moves_while_another_worker_reverses_its_parent(
    postgres_books: Books, reversal_first: bool
) -> None:
    await postgres_books.apply(a_sale("r_c", order=None, parent="r_p", total=1_000))
    partial, reversal = a_sale("r_c", order="ord_1"), a_rollback("r_p")
    first, second = (reversal, partial) if reversal_first else (partial, reversal)
    await overlapping(postgres_books, [first], [second])
    assert await postgres_books.points() == 0


async def test_a_parent_told_at_the_last_moment_is_locked_as_well(postgres_books: Books) -> None:
    await postgres_books.apply(a_sale("r_c", order=None, total=1_000))
    moved, commit = asyncio.Event(), asyncio.Event()

    async def move_the_child() -> None:
        async with while_uncommitted(postgres_books, a_sale("r_c", order="ord_1")):
            moved.set()
            await commit.wait()

    async with asyncio.TaskGroup() as workers:
        async with postgres_books.database.transaction() as teller:
            await teller.run("SELECT 1 FROM facts WHERE redemption_id = 'r_c' {lock}")
            workers.create_task(move_the_child())
            # It has looked up the child's parent before anybody could see that there is one.
            await until_somebody_waits(postgres_books)
            await Loyalty().apply([a_sale("r_c", order=None, parent="r_p")], teller)
        await moved.wait()
        workers.create_task(postgres_books.apply(a_rollback("r_p")))
        await until_somebody_waits(postgres_books)
        commit.set()
    assert await postgres_books.points() == 0
    assert await postgres_books.findings() == []


async def test_workers_with_the_same_events_in_opposite_order_never_block_each_other_for_good(
    postgres_books: Books,
) -> None:
    children = [a_sale(f"r_c{n}", f"c_{n % 7}", None, 2_000, parent=f"r_p{n}") for n in range(60)]
    parents = [a_sale(f"r_p{n}", f"c_{n % 5}", f"o_{n % 9}", 1_000) for n in range(60)]
    events = children + parents
    half = len(events) // 2
    for _ in range(4):
        # Unavailable, which is what a deadlock comes out as, would fail the test.
        await asyncio.gather(
            postgres_books.apply(*events[:half]),
            postgres_books.apply(*reversed(events)),
            postgres_books.apply(*events[half:]),
            postgres_books.apply(*(a_rollback(f"r_p{number}") for number in range(59, 30, -1))),
        )
    assert await postgres_books.findings() == []


async def test_many_workers_in_any_order_come_to_the_same_balances(postgres_books: Books) -> None:
    chance = random.Random(20_240_313)
    for _ in range(12):
        tenant = postgres_books.another_tenant()
        told = [_a_telling(chance) for _ in range(40)]
        await asyncio.gather(*(_a_worker(postgres_books, tenant, told, chance) for _ in range(4)))
        assert await postgres_books.balances_of(tenant) == expected_balances(told)
    assert await postgres_books.findings() == []


async def _a_worker(books: Books, tenant: str, told: Sequence[Telling], chance: random.Random) -> None:
    mine = chance.sample(told, len(told))
    for start in range(0, len(mine), 5):
        batch = [delivered(each, tenant) for each in mine[start : start + 5]]
        while not await _applied(books, batch):
            pass


async def _applied(books: Books, batch: Sequence[RedemptionEvent]) -> bool:
    try:
        await books.apply(*batch)
    except Unavailable:
        # A circle that conflicting deliveries can close: the worker tries the same batch again.
        return False
    return True


def _a_telling(chance: random.Random) -> Telling:
    redemption = f"r_{chance.randrange(8)}"
    if chance.random() < 0.2:
        return {"redemption": redemption, "rollback": True}
    return {
        "redemption": redemption,
        "success": True,
        "order": chance.choice([None, "ord_1", "ord_2", "ord_3"]),
        "parent": chance.choice([None, None, "r_0", "r_7"]),
        "customer": chance.choice([None, "anna", "bob"]),
        "amount": chance.choice([None, 900]),
        "total": chance.choice([None, 500, 1_000, 2_000]),
        "discount": chance.choice([None, 100, 300]),
        "type": None,
        "voucher": chance.random() < 0.7,
        "tier": False,
        "reward": False,
        "channel": None,
        "status": "PAID",
    }
