"""A time-out that costs nothing to what does not wait: the clock is set when it first does."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`. Raises TimeoutError where it waits for longer than so, having cancelled it."""
    until = asyncio.get_running_loop().time() + seconds
    steps = work.__await__()
    try:
        pause = next(steps)
    except StopIteration as ended:
        result: T = ended.value
        return result
    async with asyncio.timeout_at(until):
        return await _Begun(steps, pause)


class _Begun(Awaitable[T]):
    """What has begun by hand and pauses: its steps from there on belong to the task again."""

    def __init__(self, steps: Generator[Any, Any, T], pause: Any) -> None:
        self._steps = steps
        self._pause = pause
        """What it waits for, as the event loop wants to be told."""

    def __await__(self) -> Generator[Any, Any, T]:
        while True:
            try:
                sent, thrown = (yield self._pause), None
            except BaseException as error:  # cancelled meanwhile, or closed
                sent, thrown = None, error
            try:
                self._pause = self._steps.send(sent) if thrown is None else self._steps.throw(thrown)
            except StopIteration as ended:
                result: T = ended.value
                return result
