"""Tries until one succeeds. tenacity counts, waits and gives up; asked about each run that succeeds at once,
it would take as long as many of these runs."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying

T = TypeVar("T")


async def tried(run: Callable[[], Awaitable[T]], retrying: Callable[[], AsyncRetrying]) -> T:
    """The result of `run`, as `retrying` would have it: that is made when the first run has failed."""
    failed: Exception | None = None
    try:
        return await run()
    except Exception as error:
        failed = error

    async def next_run() -> T:
        nonlocal failed
        if failed is not None:
            first, failed = failed, None
            raise first
        return await run()

    result: T = await retrying()(next_run)
    return result
