"""The harness finds each fault that a transactional handler can have, and nothing wrong with a good one."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from events.event import Kind, RedemptionEvent
from events.failures import Refused, Unavailable
from handlers.loyalty.handler import Loyalty
from handlers.protocol import TransactionalHandler, Verdicts
from handlers.testing import Broken, check_transactional_handler, redeemed, rolled_back
from storage.database import Transaction

BODIES = [redeemed("r_1"), rolled_back("r_1"), redeemed("r_2"), redeemed("r_3", customer="cust_2")]
UPSERT = (
    "INSERT INTO counts (name, n) VALUES (:name, :n) "
    "ON CONFLICT (name) DO UPDATE SET n = counts.n + excluded.n"
)


async def prepare(transaction: Transaction) -> None:
    await transaction.run("CREATE TABLE counts (name text PRIMARY KEY, n integer NOT NULL)")


async def seen(transaction: Transaction) -> object:
    return await transaction.run("SELECT name, n FROM counts ORDER BY name")


class Good:
    """Counts by kind, and refuses one redemption."""

    name = "count"
    kinds: Sequence[Kind] = (Kind.SUCCEEDED, Kind.ROLLED_BACK)
    keeps_marks = False

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        verdicts: dict[int, Any] = {}
        for index, event in enumerate(events):
            if event.redemption_id == "r_2":
                verdicts[index] = Refused("not_this", "we do not count this one")
            else:
                await self.count(transaction, event)
        return verdicts

    async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
        await transaction.run(UPSERT, name=event.kind, n=1)


async def check(handler: type[TransactionalHandler]) -> None:
    await check_transactional_handler(handler, BODIES, prepare=prepare, seen=seen)


async def found(handler: type[TransactionalHandler]) -> str:
    with pytest.raises(Broken) as broken:
        await check(handler)
    return str(broken.value).partition(":")[0]


async def test_a_good_handler_passes() -> None:
    await check(Good)


async def test_the_ledger_itself_passes() -> None:
    async def nothing(transaction: Transaction) -> None: ...

    async def balances(transaction: Transaction) -> object:
        return await transaction.run("SELECT customer_id, points FROM balances ORDER BY customer_id")

    await check_transactional_handler(Loyalty, BODIES, prepare=nothing, seen=balances)


async def test_a_handler_that_keeps_marks_and_counts_duplicates_is_found() -> None:
    class CountsAll(Good):
        keeps_marks = True

    assert (await found(CountsAll)).startswith("duplicates")


async def test_a_handler_for_which_order_matters_is_found() -> None:
    class LastWord(Good):
        async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
            await transaction.run("DELETE FROM counts")
            await transaction.run(UPSERT, name=event.redemption_id, n=1)

    assert await found(LastWord) == "another order"


async def test_a_handler_that_counts_in_memory_is_found() -> None:
    class InMemory(Good):
        def __init__(self) -> None:
            self.counted = 0

        async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
            self.counted += 1
            await transaction.run("DELETE FROM counts")
            await transaction.run(UPSERT, name="all", n=self.counted)

    assert await found(InMemory) == "rolled back and begun anew"


async def test_a_handler_that_counts_what_it_met_is_found() -> None:
    class OncePerLife(Good):
        def __init__(self) -> None:
            self.met: set[tuple[str, str, Kind]] = set()

        async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
            if event.key not in self.met:
                self.met.add(event.key)
                await super().count(transaction, event)

    assert await found(OncePerLife) == "rolled back and begun anew"


async def test_a_handler_that_swallows_the_end_of_its_transaction_is_found() -> None:
    class Swallows(Good):
        async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
            with suppress(Unavailable):
                await super().count(transaction, event)

    assert (await found(Swallows)).startswith("the database away at statement")


async def test_a_handler_that_commits_by_itself_is_found() -> None:
    class Commits(Good):
        async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
            await super().count(transaction, event)
            await transaction.connection.commit()

    with pytest.raises(Broken):
        await check(Commits)


async def test_a_handler_that_commits_behind_the_workers_back_is_found() -> None:
    class SaysCommit(Good):
        async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
            await super().count(transaction, event)
            await transaction.run("COMMIT")
            await transaction.run("BEGIN")

    with pytest.raises(Broken):
        await check(SaysCommit)


async def test_a_handler_that_fails_when_all_is_well_is_found_with_its_error() -> None:
    class Raises(Good):
        async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
            raise LookupError("no such campaign")

    with pytest.raises(Broken, match="a calm run: the handler raised LookupError") as info:
        await check(Raises)
    assert isinstance(info.value.__cause__, LookupError)


async def test_a_handler_that_waits_for_nothing_is_found() -> None:
    class Waits(Good):
        async def count(self, transaction: Transaction, event: RedemptionEvent) -> None:
            raise Unavailable("busy", "come back later")

    with pytest.raises(Broken):
        await check(Waits)
