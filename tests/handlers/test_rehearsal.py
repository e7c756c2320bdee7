"""A rehearsal comes to what the ledger then does, and writes nothing."""

from random import Random

import pytest

from events.event import RedemptionEvent
from events.runtime import SystemRuntime
from handlers.loyalty.policy_file import parse_policy
from handlers.loyalty.rehearsal import Change, Rehearsal
from storage.scratch import scratch
from tests.handlers.books import Books
from tests.handlers.deliveries import TENANT, a_delivery, a_rollback, a_sale

BOTH = parse_policy('[[versions]]\nversion = "both"\nbeneficiary = "both"\nbase = "total_amount"')


async def rehearsed(books: Books, *batches: list[RedemptionEvent]) -> tuple[list[Change], Rehearsal]:
    async with books.database.snapshot() as snapshot, scratch(SystemRuntime()) as copy:
        rehearsal = Rehearsal(snapshot, copy, books.policy)
        await rehearsal.begin()
        for batch in batches:
            await rehearsal.play(batch)
        return await rehearsal.changes(), rehearsal


def some_event(random: Random) -> RedemptionEvent:
    """Of few redemptions in few orders, so that they meet: stacks, rollbacks, partial and late tellings."""
    number = random.randrange(8)
    if random.random() < 0.25:
        return a_rollback(f"r_{number}", random.choice((TENANT, "other")))
    return a_sale(
        f"r_{number}",
        customer=random.choice(("anna", "bob", None)),
        order=random.choice((f"ord_{number % 3}", None)),
        total=random.choice((None, 1_000, 2_500, 12.5)),
        parent=random.choice((None, None, f"r_{(number + 1) % 8}")),
        voucher=random.random() < 0.7,
        tenant=random.choice((TENANT, "other")),
    )


@pytest.mark.parametrize("seed", range(10))
async def test_it_comes_to_what_the_ledger_then_does(books: Books, seed: int) -> None:
    random = Random(seed)
    await books.apply(*(some_event(random) for _ in range(random.randrange(12))))
    later = [some_event(random) for _ in range(random.randrange(1, 12))]
    before, contents = await everybody(books), await books.contents()
    changes, rehearsal = await rehearsed(books, later[:5], later[5:])
    assert await books.contents() == contents
    verdicts = await books.apply(*later)
    after = await everybody(books)
    assert {(change.tenant, change.customer_id): change.points for change in changes} == {
        account: after.get(account, 0) - before.get(account, 0)
        for account in before.keys() | after.keys()
        if after.get(account, 0) != before.get(account, 0)
    }
    refused = [verdict for verdict in verdicts.values() if isinstance(verdict, Exception)]
    assert (rehearsal.refused.total(), rehearsal.applied) == (len(refused), len(later) - len(refused))


async def everybody(books: Books) -> dict[tuple[str, str], int]:
    return {
        (tenant, customer): points
        for tenant in (TENANT, "other")
        for customer, points in (await books.balances_of(tenant)).items()
    }


async def test_every_account_of_a_shared_order_is_told(books: Books) -> None:
    books.policy = BOTH
    sale = {"redemption": {"id": "r_1"}, "customer": {"id": "anna"}, "order": {"total_amount": 1_000}}
    await books.apply(a_delivery(sale))
    before = await everybody(books)
    changes, _ = await rehearsed(books, [a_delivery(sale | {"holder": {"id": "bob"}})])
    await books.apply(a_delivery(sale | {"holder": {"id": "bob"}}))
    after = await everybody(books)
    assert {change.customer_id: change.points for change in changes} == {
        customer: after[TENANT, customer] - before.get((TENANT, customer), 0)
        for customer in ("anna", "bob")
        if after[TENANT, customer] != before.get((TENANT, customer), 0)
    }
    assert changes


async def test_a_parents_rollback_takes_the_points_of_its_childrens_orders(books: Books) -> None:
    await books.apply(a_sale("r_child", order="ord_child", total=1_000, parent="r_parent"))
    changes, _ = await rehearsed(books, [a_rollback("r_parent")])
    assert changes == [Change(TENANT, "anna", -10)]


async def test_batches_add_up(books: Books) -> None:
    await books.apply(a_sale("r_1", total=1_000))
    again, new = a_sale("r_1", total=1_000), a_sale("r_2", order="ord_2", total=500)
    changes, _ = await rehearsed(books, [again], [new], [a_rollback("r_1")], [a_rollback("r_2")], [new])
    assert changes == [Change(TENANT, "anna", -10)]
