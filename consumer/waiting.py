"""Waiting out what is away: tried again with growing pauses, for as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from consumer.progress import Progress
from consumer.tries import tried
from events.failures import Misconfigured, Unavailable
from events.runtime import Runtime

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0
MISCONFIGURED_SECONDS = 10.0


class GivenUp(Exception):
    """Nobody needs the result any more."""


class Patience:
    """Runs work until it succeeds; meanwhile the worker is not ready and says why."""

    def __init__(self, progress: Progress, runtime: Runtime) -> None:
        self._progress = progress
        self._runtime = runtime

    async def outlast(
        self, name: str, work: Callable[[], Awaitable[T]], given_up: asyncio.Event | None = None
    ) -> T:
        """The result of `work`. Raises GivenUp instead of trying (again) once `given_up` is set."""
        over = given_up or asyncio.Event()

        async def step() -> T:
            if over.is_set():
                raise GivenUp
            with self._progress.step(name):
                return await work()

        def retrying() -> AsyncRetrying:
            return AsyncRetrying(
                retry=retry_if_exception(_can_pass),
                wait=self._pause,
                sleep=lambda seconds: set_within(over, seconds),
                before_sleep=lambda state: self._tell(name, state),
            )

        try:
            result = await tried(step, retrying)
        except BaseException:
            self._progress.forget(name)
            raise
        self._progress.clear(name)
        return result

    def _pause(self, state: RetryCallState) -> float:
        growth: int = min(state.attempt_number - 1, 16)
        longest = MISCONFIGURED_SECONDS if isinstance(_error(state), Misconfigured) else LONGEST_SECONDS
        return min(longest, FIRST_SECONDS * 2.0**growth) * (0.5 + self._runtime.random() / 2)

    def _tell(self, name: str, state: RetryCallState) -> None:
        error = _error(state)
        if isinstance(error, (Unavailable, Misconfigured)):
            self._progress.trouble(name, str(error))
            return
        # A fault of our own. The batch is not skipped and the process does not end: it is tried again,
        # and a watchdog tells whoever watches that nothing moves.
        log.error("unexpected_error", what=name, exc_info=error)
        self._progress.trouble(name, f"unexpected {type(error).__name__}")


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _can_pass(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, GivenUp)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
