"""The harness finds each fault that an effect handler can have, and nothing wrong with a good one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from events.event import Kind, RedemptionEvent
from events.failures import Refused, Unavailable
from handlers.protocol import Attempt, EffectHandler, Retry, Skipped
from handlers.testing import Broken, Trial, check_effect_handler, redeemed, rolled_back
from storage.database import Database

BODIES = [redeemed("r_1"), rolled_back("r_1"), redeemed("r_2", customer="cust_2")]
Call = Callable[["Shop", Attempt], Awaitable[Skipped | None]]


class Shop:
    """The outside: it keeps what it is told, once a key if it is given one."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, str]] = []
        self.status: dict[str, str] = {}
        self._keys: set[str] = set()

    async def order(self, redemption: str, kind: str, key: str | None) -> None:
        await asyncio.sleep(0)
        if key is None or key not in self._keys:
            self._keys.add(key or "")
            self.orders.append((redemption, kind))
        await asyncio.sleep(0)


class Handler:
    name = "shop"
    kinds = (Kind.SUCCEEDED, Kind.ROLLED_BACK)
    concurrency = 5
    timeout = 5.0
    retry = Retry(attempts=4)

    def __init__(self, shop: Shop, call: Call) -> None:
        self._shop = shop
        self._call = call
        self.memory: set[str] = set()

    def wants(self, event: RedemptionEvent) -> bool:
        return True

    async def run(self, attempt: Attempt) -> Skipped | None:
        return await self._call(self._shop, attempt)


def outside(call: Call, made: type[Handler] = Handler) -> Any:
    @asynccontextmanager
    async def trial() -> AsyncIterator[Trial]:
        shop = Shop()

        def make() -> EffectHandler:
            return made(shop, call)

        yield Trial(make, lambda: (sorted(shop.orders), shop.status))

    return trial


async def good(shop: Shop, attempt: Attempt) -> None:
    await shop.order(attempt.event.redemption_id, attempt.event.kind, attempt.key)


async def found(call: Call, made: type[Handler] = Handler) -> str:
    with pytest.raises(Broken) as broken:
        await check_effect_handler(outside(call, made), BODIES)
    return str(broken.value).partition(":")[0]


async def test_a_good_handler_passes() -> None:
    await check_effect_handler(outside(good), BODIES)


async def test_refusing_and_skipping_are_fine() -> None:
    async def picky(shop: Shop, attempt: Attempt) -> Skipped | None:
        if attempt.event.kind is Kind.ROLLED_BACK:
            raise Refused("no_refunds", "we take nothing back")
        return Skipped("not_ours")

    await check_effect_handler(outside(picky), BODIES)


async def test_a_handler_with_one_try_is_not_asked_for_a_second() -> None:
    class Once(Handler):
        retry = Retry(attempts=1)

    await check_effect_handler(outside(good, Once), BODIES)


async def test_a_handler_that_ignores_the_key_is_found() -> None:
    async def keyless(shop: Shop, attempt: Attempt) -> None:
        await shop.order(attempt.event.redemption_id, attempt.event.kind, None)

    assert await found(keyless) == "a crash after the effect, tried again with the same key"


async def test_a_key_that_is_another_with_each_try_is_found() -> None:
    async def numbered(shop: Shop, attempt: Attempt) -> None:
        await shop.order(attempt.event.redemption_id, attempt.event.kind, f"{attempt.key}:{attempt.number}")

    assert await found(numbered) == "a crash after the effect, tried again with the same key"


async def test_a_handler_that_remembers_keys_in_memory_is_found() -> None:
    class Forgetful(Handler):
        async def run(self, attempt: Attempt) -> None:
            if attempt.key not in self.memory:
                self.memory.add(attempt.key)
                await self._shop.order(attempt.event.redemption_id, attempt.event.kind, None)

    assert await found(good, Forgetful) == "a crash after the effect, tried again with the same key"


async def test_a_handler_that_does_its_work_in_two_halves_is_found() -> None:
    async def halves(shop: Shop, attempt: Attempt) -> None:
        first = shop.status.setdefault(attempt.key, "begun") == "begun"
        begun = shop.status.get(f"{attempt.key} seen")
        shop.status[f"{attempt.key} seen"] = "yes"
        await asyncio.sleep(0)
        if first and begun is None:
            shop.status[attempt.key] = "done"

    assert (await found(halves)).startswith("a crash during the call")


async def test_a_handler_that_acts_at_the_first_try_alone_is_found() -> None:
    async def first_only(shop: Shop, attempt: Attempt) -> None:
        if attempt.number == 1:
            await good(shop, attempt)

    assert await found(first_only) == "a try that failed before"


async def test_a_handler_for_which_order_matters_is_found() -> None:
    async def last_word(shop: Shop, attempt: Attempt) -> None:
        shop.status[attempt.event.redemption_id] = attempt.event.kind

    assert await found(last_word) == "another order"


async def test_wants_with_a_memory_is_found() -> None:
    class Impatient(Handler):
        def wants(self, event: RedemptionEvent) -> bool:
            asked = f"{event.kind} {event.redemption_id}"
            return asked not in self.memory and not self.memory.add(asked)

    assert await found(good, Impatient) == "a batch that was rolled back"


async def test_a_handler_that_fails_when_all_is_well_is_found_with_its_error() -> None:
    async def broken(shop: Shop, attempt: Attempt) -> None:
        raise Unavailable("shop_closed", "the shop is closed")

    with pytest.raises(Broken, match="a calm run: the handler raised Unavailable") as info:
        await check_effect_handler(outside(broken), BODIES)
    assert isinstance(info.value.__cause__, Unavailable)


async def test_a_handler_that_takes_longer_than_it_may_is_found() -> None:
    class Slow(Handler):
        timeout = 0.01
        retry = Retry(attempts=2)

    async def waits(shop: Shop, attempt: Attempt) -> None:
        await asyncio.Event().wait()

    assert await found(waits, Slow) == "a calm run"


async def test_what_a_handler_opens_is_open_for_each_try_and_closed_in_the_end() -> None:
    doors: list[bool] = []

    class Doors(Handler):
        is_open = False

        @asynccontextmanager
        async def opened(self, database: Database) -> AsyncIterator[None]:
            self.is_open = True
            yield
            self.is_open = False
            doors.append(self.is_open)

        async def run(self, attempt: Attempt) -> None:
            assert self.is_open
            await good(self._shop, attempt)

    await check_effect_handler(outside(good, Doors), BODIES)
    assert doors
