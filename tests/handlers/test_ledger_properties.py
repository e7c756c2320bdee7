"""Any order, any duplication, any split into batches: the balances are those of the model."""

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.event import RedemptionEvent
from tests.handlers.books import Books
from tests.handlers.deliveries import a_rollback, a_success
from tests.handlers.model import Telling, expected_balances

redemptions = st.sampled_from(["r_1", "r_2", "r_3", "r_4"])
amounts = st.sampled_from([None, 0, 99, 100, 1000, 2500, -500])
successes = st.fixed_dictionaries(
    {
        "redemption": redemptions,
        "success": st.just(True),
        "order": st.sampled_from([None, "ord_1", "ord_2"]),
        "parent": st.sampled_from([None, None, "r_1", "r_2"]),
        "customer": st.sampled_from([None, "anna", "bob"]),
        "amount": amounts,
        "total": amounts,
        "discount": st.sampled_from([None, 0, 50, 100]),
        "voucher": st.booleans(),
        "type": st.sampled_from([None, "DISCOUNT_VOUCHER", "GIFT_VOUCHER", "LOYALTY_CARD"]),
        "tier": st.booleans(),
        "reward": st.sampled_from([False, False, False, True]),
        "channel": st.sampled_from([None, "USER", "AUTO_REDEEM"]),
        "status": st.sampled_from([None, "PAID", "FULFILLED", "CREATED", "CANCELED"]),
    }
).map(lambda told: told if told["voucher"] else told | {"type": None})
plain_successes = successes.map(
    lambda told: told | {"type": None, "reward": False, "channel": None, "status": "PAID"}
)
rollbacks = st.fixed_dictionaries({"redemption": redemptions, "rollback": st.just(True)})
deliveries = st.lists(plain_successes | successes | rollbacks, min_size=1, max_size=7)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Telling]]:
    """Deliveries, some of them more than once, in any order, cut into batches."""
    told = draw(deliveries)
    repeated = told + draw(st.lists(st.sampled_from(told), max_size=4))
    shuffled = draw(st.permutations(repeated))
    cuts = sorted(draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    return [shuffled[start:end] for start, end in itertools.pairwise([0, *cuts, len(shuffled)])]


# Each example writes under a tenant of its own: that the database stays is no leak between examples.
together = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@together
@given(histories())
async def test_the_balances_are_what_the_facts_entitle_to_on_sqlite(
    sqlite_books: Books, history: list[list[Telling]]
) -> None:
    await _play(sqlite_books, history)


@together
@given(histories())
async def test_the_balances_are_what_the_facts_entitle_to_on_postgresql(
    postgres_books: Books, history: list[list[Telling]]
) -> None:
    await _play(postgres_books, history)


async def _play(books: Books, history: list[list[Telling]]) -> None:
    tenant = books.another_tenant()
    for batch in history:
        await books.apply(*(delivered(told, tenant) for told in batch))
    expected = expected_balances(told for batch in history for told in batch)
    assert await books.balances_of(tenant) == expected
    assert await books.findings() == []


def delivered(told: Telling, tenant: str) -> RedemptionEvent:
    if told.get("rollback"):
        return a_rollback(told["redemption"], tenant)
    order: dict[str, Any] = {
        "id": told["order"],
        "status": told["status"],
        "amount": told["amount"],
        "total_amount": told["total"],
        "total_discount_amount": told["discount"],
    }
    return a_success(
        told["redemption"],
        tenant,
        customer={"id": told["customer"]},
        order=order,
        voucher={"type": told["type"]} if told["voucher"] else None,
        promotion_tier={} if told["tier"] else None,
        redemption_fields={
            "redemption": told["parent"],
            "reward": {} if told["reward"] else None,
            "channel": {"channel_type": told["channel"]},
        },
    )
