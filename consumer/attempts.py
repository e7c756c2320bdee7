"""The tries of one handler's effects that run in this worker now, and what came of those that ended."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from consumer.effect_guard import Fate
from consumer.letters import sentence_of
from consumer.metrics import WorkerMetrics
from consumer.work import Buried, Work
from events.failures import Refused, Unavailable
from events.runtime import Runtime
from handlers.protocol import Deferred, Skipped
from storage.dead_letters import clean
from storage.effects import Lease, Mark, Result
from storage.schema import State

log = structlog.get_logger(__name__)

LONGEST_WAIT = 7 * 24 * 3600.0
"""Seconds; whatever a dependency asks for, it is asked again within a week."""


class Ended(NamedTuple):
    """A try that ended, to be stored."""

    result: Result
    buried: Buried | None = None


class Attempts:
    """Owns the tasks. `notify` is called whenever one ends."""

    def __init__(
        self, work: Work, runtime: Runtime, metrics: WorkerMetrics, notify: Callable[[], None]
    ) -> None:
        self._work = work
        self._runtime = runtime
        self._notify = notify
        self._counted = metrics.attempts
        self._gauge = metrics.running.labels(work.handler)
        self._running: dict[Mark, tuple[Lease, asyncio.Task[None]]] = {}
        self.ended: list[Ended] = []
        """Not stored yet."""

    @property
    def count(self) -> int:
        return len(self._running)

    @property
    def none(self) -> bool:
        """Whether nothing runs or waits to be stored."""
        return not self._running and not self.ended

    def leases(self) -> list[Lease]:
        return [lease for lease, _ in self._running.values()]

    def start(self, lease: Lease, load: Any, tasks: asyncio.TaskGroup) -> None:
        """Begin a try in `tasks`; `load` None: what it needs is gone."""
        task = tasks.create_task(self._attempt(lease, load), name=f"attempt {self._work.handler}")
        self._running[lease.mark] = (lease, task)
        task.add_done_callback(lambda _: self._gone(lease, task))
        self._gauge.set(len(self._running))

    def cancel(self, lease: Lease) -> None:
        """The lease is lost: whoever has it now runs the effect."""
        running = self._running.get(lease.mark)
        if running and running[0] == lease:
            log.warning("lease_lost", handler=self._work.handler)
            running[1].cancel()

    def _gone(self, lease: Lease, task: asyncio.Task[None]) -> None:
        if self._running.get(lease.mark) == (lease, task):  # else it was leased again, and runs anew
            del self._running[lease.mark]
        self._gauge.set(len(self._running))
        self._notify()

    async def _attempt(self, lease: Lease, load: Any) -> None:
        try:
            answer = await self._run(lease, load)
        except Refused as refused:
            ended = self._given_up(lease, load, refused)
        except Exception as error:
            most = self._work.retry.attempts
            used_up = most is not None and lease.attempts >= most
            ended = self._given_up(lease, load, error) if used_up else self._again(lease, error)
        else:
            ended = self._later(lease, answer) if isinstance(answer, Deferred) else self._done(lease, answer)
        self.ended.append(ended)

    async def _run(self, lease: Lease, load: Any) -> Skipped | Deferred | None:
        most = self._work.retry.attempts
        if load is None:
            raise Refused("payload_missing", "the record behind this effect is gone")
        if most is not None and lease.attempts > most:
            # Every try so far ended with its worker: perhaps it is what ends them.
            raise Refused("attempts_used_up", f"no answer from any of {most} tries")
        async with asyncio.timeout(self._work.timeout):
            return await self._work.run(load, lease)

    def _done(self, lease: Lease, skipped: Skipped | None) -> Ended:
        # Whatever else a handler returns, it returned: the call was made.
        if isinstance(skipped, Skipped):
            self._count("skipped")
            return Ended(Result(lease, State.SKIPPED, error=clean(skipped.reason)))
        self._count("done")
        return Ended(Result(lease, State.DONE))

    def _later(self, lease: Lease, deferred: Deferred) -> Ended:
        self._count("deferred")
        wait = int(max(0.0, min(deferred.seconds, LONGEST_WAIT)) * 1000)
        told = clean(f"deferred: {deferred.reason}")
        return Ended(Result(lease, State.PENDING, wait=wait, error=told, counts=False))

    def _given_up(self, lease: Lease, load: Any, error: Exception) -> Ended:
        self._count("dead")
        told = told_of(error)
        log.warning("effect_dead", handler=self._work.handler, attempts=lease.attempts, error=told)
        return Ended(Result(lease, State.DEAD, error=told), Buried(lease, load, error))

    def _again(self, lease: Lease, error: Exception) -> Ended:
        self._count("failed")
        wait = self._work.retry.wait(lease.attempts, self._runtime.random())
        if isinstance(error, Unavailable) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        wait, told = min(wait, LONGEST_WAIT), told_of(error)
        log.info(
            "effect_failed",
            handler=self._work.handler,
            attempts=lease.attempts,
            wait=round(wait, 1),
            error=told,
        )
        return Ended(Result(lease, State.PENDING, wait=int(wait * 1000), error=told))

    def _count(self, result: str) -> None:
        self._counted.labels(self._work.handler, result).inc()


def told_of(error: Exception) -> str:
    return f"{type(error).__name__}: {sentence_of(error)}"


def fate_of(ended: Ended) -> Fate:
    """For the guard. A replay that dies again loses nothing: its letter is there."""
    if ended.result.lease.generation or ended.result.state is State.PENDING:
        return False
    return ended.buried.error if ended.buried else True


def given_back(ended: Ended) -> Ended:
    """As if its last try had never been."""
    result = ended.result._replace(state=State.PENDING, wait=0, counts=False)
    return Ended(result)
