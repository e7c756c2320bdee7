"""Waiting out what is away: tried again with growing pauses, for as long as it takes."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from consumer.progress import Progress
from events.failures import Misconfigured, Unavailable
from events.runtime import Runtime

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0
MISCONFIGURED_SECONDS = 10.0


class Patience:
    """Runs work until it succeeds; meanwhile the worker is not ready and says why."""

    def __init__(self, progress: Progress, runtime: Runtime) -> None:
        self._progress = progress
        self._runtime = runtime

    async def outlast(
        self, name: str, work: Callable[[], Awaitable[T]], given_up: Callable[[], bool] = lambda: False
    ) -> T:
        """The result of `work`. Raises its last error only once `given_up()` says there is no more point."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            stop=lambda _: given_up(),
            wait=self._pause,
            before_sleep=lambda state: self._tell(name, state),
            reraise=True,
        )

        async def step() -> T:
            with self._progress.step(name):
                return await work()

        result: T = await retrying(step)
        self._progress.clear(name)
        return result

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        growth: int = min(state.attempt_number - 1, 16)
        longest = MISCONFIGURED_SECONDS if isinstance(error, Misconfigured) else LONGEST_SECONDS
        return min(longest, FIRST_SECONDS * 2.0**growth) * (0.5 + self._runtime.random() / 2)

    def _tell(self, name: str, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, (Unavailable, Misconfigured)):
            self._progress.trouble(name, str(error))
            return
        # A fault of our own. The batch is not skipped and the process does not end: it is tried again,
        # and a watchdog tells whoever watches that nothing moves.
        log.error("unexpected_error", what=name, exc_info=error)
        self._progress.trouble(name, f"unexpected {type(error).__name__}")
