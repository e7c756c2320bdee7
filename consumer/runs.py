"""One attempt at an effect: its run, those that follow at once, and how it all ended."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from consumer.breaker import Call
from consumer.calls import Calls, call_of
from consumer.dependencies import KnownDependencies
from consumer.endings import Ended, again, away, done, given_up, put_off, told_of, unfit, unknown
from consumer.switches import Switches
from consumer.tries import tried
from consumer.within import within
from consumer.work import Work
from events.failures import Away, DatabaseUnavailable, Refused, Unavailable
from events.runtime import Runtime
from handlers.protocol import Deferred, Skipped
from storage.effects import Mark
from storage.leases import Lease

DATABASE_SECONDS = 1.0
"""After the worker's own database was away inside a try, at least."""
AT_ONCE = wait_exponential_jitter(multiplier=0.1, max=1.0)


class Held:
    """An effect that this worker has a lease of."""

    __slots__ = ("lease", "load", "since", "task")

    def __init__(self, lease: Lease, load: Any, since: float) -> None:
        self.lease = lease
        self.load = load
        """What its call needs; None: it is gone."""
        self.since = since
        """When the lease was last got or renewed, at the latest, by the runtime's monotonic clock."""
        self.task: asyncio.Task[None] | None = None
        """Its call's; None: it has not begun."""


class Runs:
    """Runs what is held. `probes`: effects that may be called although a breaker is open, and which."""

    def __init__(self, work: Work, runtime: Runtime, switches: Switches, probes: Mapping[Mark, str]) -> None:
        self._work = work
        self._terms = work.terms
        self._runtime = runtime
        self._switches = switches
        self._probes = probes
        self._known = KnownDependencies()

    def may_begin(self, lease: Lease) -> bool:
        """Whether its dependency is not about to be found away."""
        return not self._switches.is_silent(lease.dependency) or lease.mark in self._probes

    async def ended(self, held: Held) -> Ended:
        ended = await self._ended(held)
        self._switches.note(ended.calls)
        return ended

    async def _ended(self, held: Held) -> Ended:
        lease, load = held.lease, held.load
        calls = Calls(lease.dependency, self._known, self._switches, self._probes.get(lease.mark))
        if refused := unfit(lease, load, self._terms):
            return given_up(lease, load, refused, calls)
        try:
            answer = await self._answer(held, calls)
        except Exception as error:
            return self._failed(lease, load, error, calls)
        if isinstance(answer, Deferred):
            return put_off(lease, load, answer.seconds, f"deferred: {answer.reason}", calls)
        return done(lease, answer, calls)

    def _failed(self, lease: Lease, load: Any, error: Exception, calls: Calls) -> Ended:
        if isinstance(error, Refused):
            return given_up(lease, load, error, calls)
        if isinstance(error, Away):
            return away(lease, load, error, calls)
        sure = isinstance(error, Unavailable) and not error.sent
        if self._terms.on_unknown == "give_up" and (not sure or isinstance(error, DatabaseUnavailable)):
            return given_up(lease, load, unknown(f"the call ended in {type(error).__name__}"), calls)
        if isinstance(error, DatabaseUnavailable):
            wait = DATABASE_SECONDS * (1 + self._runtime.random())
            return put_off(lease, load, wait, f"deferred: {told_of(error)}", calls)
        return again(lease, load, error, calls, self._terms.retry, self._runtime.random())

    async def _answer(self, held: Held, calls: Calls) -> Skipped | Deferred | None:
        """Of one run, and of those that follow at once when it got none."""
        retry = self._terms.retry
        left = retry.at_once
        if retry.attempts is not None:
            left = min(left, retry.attempts - held.lease.attempts)
        if left <= 0 or held.lease.taken_over:
            return await self._run(held, calls)
        return await tried(partial(self._run, held, calls), partial(self._retrying, 1 + left))

    def _retrying(self, runs: int) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception(self._at_once),
            stop=stop_after_attempt(runs),
            wait=AT_ONCE,
            reraise=True,
        )

    async def _run(self, held: Held, calls: Calls) -> Skipped | Deferred | None:
        lease = held.lease
        if calls.runs:
            lease = lease._replace(attempts=lease.attempts + calls.runs)
        try:
            answer = await within(self._terms.timeout, self._work.run(held.load, lease, calls.calling))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = RuntimeError("the handler cancelled itself")
            calls.failed(failure)
            raise failure from error
        except Exception as error:
            calls.failed(error)
            raise
        if not isinstance(answer, (Skipped, Deferred)):
            calls.answered()
        return answer

    def _at_once(self, error: BaseException) -> bool:
        if not isinstance(error, Exception) or isinstance(error, Away):
            return False
        if call_of(error) is not Call.UNAVAILABLE:
            return False
        if isinstance(error, Unavailable):
            unsure = error.sent and self._terms.on_unknown == "give_up"
            return error.retry_after is None and not unsure
        return self._terms.on_unknown == "retry"
