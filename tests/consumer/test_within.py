"""A time-out that is set when work first waits: as asyncio's, for all that anybody can tell."""

import asyncio
from collections.abc import Awaitable
from unittest.mock import patch

import pytest

from consumer.within import within


async def test_what_does_not_wait_needs_no_clock() -> None:
    async def at_once() -> int:
        return 7

    with patch("asyncio.timeout_at", side_effect=AssertionError("no clock was needed")):
        assert await within(1.0, at_once()) == 7


async def test_what_waits_goes_on_and_says_how_it_ended() -> None:
    async def waits() -> int:
        await asyncio.sleep(0)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(answer.set_result, 3)
        return await answer + 4

    async def breaks() -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    assert await within(10.0, waits()) == 7
    with pytest.raises(ValueError, match="broken"):
        await within(10.0, breaks())


async def test_any_awaitable_will_do() -> None:
    async def answer() -> str:
        return "fine"

    task: Awaitable[str] = asyncio.create_task(answer())
    assert await within(10.0, task) == "fine"


@pytest.mark.parametrize("pauses", [0, 2])
async def test_too_long_a_wait_is_cut_off_and_may_be_cleaned_up_after(pauses: int) -> None:
    cleaned = []

    async def never() -> None:
        try:
            for _ in range(pauses):
                await asyncio.sleep(0)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(TimeoutError):
        await within(0.001, never())
    assert cleaned == [True]
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_who_is_cancelled_cancels_it() -> None:
    begun, cancelled = asyncio.Event(), []

    async def never() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task = asyncio.create_task(within(60.0, never()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == [True]
