"""Two workers on one PostgreSQL at the same time: what only one may do, only once, or only so often."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import cycle

import pytest

from handlers.protocol import Skipped
from tests.handlers.deliveries import a_rollback, a_sale
from tests.handlers.notifications.desk import RULE, UNDONE, Desk, desk_at, webhook
from tests.handlers.notifications.receiver import Receiver

pytestmark = pytest.mark.postgres
Desks = tuple[Desk, Desk]


@pytest.fixture
async def desks(postgres_database: str) -> AsyncIterator[Desks]:
    async with desk_at(postgres_database) as one, desk_at(postgres_database) as other:
        yield one, other


async def age_calls(desk: Desk, seconds: int) -> None:
    async with desk.database.transaction() as transaction:
        await transaction.run("UPDATE notification_calls SET at = at - :ms", ms=seconds * 1000)


async def test_together_they_keep_the_cap_within_the_rolling_window(desks: Desks, receiver: Receiver) -> None:
    one, other = desks
    text = webhook(receiver.url, "cap = 2\ncap_seconds = 3600") + RULE
    customers = [f"cust_{n}" for n in range(20)]
    async with one.open(text), other.open(text):
        for begun in (0, 10):
            sales = [
                a_sale(f"r_{customer}_{begun + n}", customer) for n in range(6) for customer in customers
            ]
            told = await asyncio.gather(
                *(desk.tell(sale) for desk, sale in zip(cycle((one, one, other)), sales, strict=False))
            )
            assert (told.count(None), told.count(Skipped("over_cap"))) == (40, 80)
            await age_calls(one, 3601)
    told_of = Counter(key.split("_")[2] for key in receiver.taken)
    assert told_of == {str(n): 4 for n in range(20)}


async def test_together_they_tell_a_stack_once(desks: Desks, receiver: Receiver) -> None:
    one, other = desks
    text = webhook(receiver.url) + RULE + "settle = 20\n"
    stack = [a_sale(f"r_{n}", order="ord_1", parent="r_0") for n in range(1, 21)]
    async with one.open(text), other.open(text):
        await one.post(*stack)
        await asyncio.gather(*(desk.tell(event) for event, desk in zip(stack, cycle(desks), strict=False)))
        await age_calls(one, 21)
        told = await asyncio.gather(
            *(desk.tell(event) for event, desk in zip(stack, cycle(desks), strict=False))
        )
    assert told.count(None) == 1
    assert told.count(Skipped("told_with_stack")) == 19
    assert len(receiver.taken) == 1


async def test_success_and_rollback_are_both_told_or_neither(desks: Desks, receiver: Receiver) -> None:
    one, other = desks
    text = webhook(receiver.url) + RULE + "settle = 20\n" + UNDONE
    redemptions = [f"r_{n}" for n in range(20)]
    async with one.open(text), other.open(text):
        for redemption in redemptions:
            success, rollback = a_sale(redemption, order=f"ord_{redemption}"), a_rollback(redemption)
            await one.post(success)
            await one.tell(success)
            await other.tell(rollback)
            await age_calls(one, 21)
            # The ledger hears of the rollback while both messages fall due.
            await asyncio.gather(one.tell(success), other.post(rollback), other.tell(rollback))
    told = {key.split(":")[3] for key in receiver.keys if ":succeeded:" in key}
    taken_back = {key.split(":")[3] for key in receiver.keys if ":rolled_back:" in key}
    assert told == taken_back
    assert len(receiver.taken) == 2 * len(told)


async def test_only_one_redemption_is_a_customers_first(desks: Desks, receiver: Receiver) -> None:
    one, other = desks
    text = webhook(receiver.url) + RULE + "first_redemption = true"
    sales = [a_sale(f"r_{n}", order=f"ord_{n}", total=1000) for n in range(20)]
    async with one.open(text), other.open(text):
        await one.post(*sales)
        told = await asyncio.gather(
            *(desk.tell(sale) for sale, desk in zip(sales, cycle(desks), strict=False))
        )
    assert told.count(None) == 1
    assert told.count(Skipped("not_first")) == 19
