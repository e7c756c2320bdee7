"""Effects of one handler that this worker holds: those that wait for a slot, run, or have ended."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from consumer.breaker import Call
from consumer.endings import Ended, again, call_of, done, given_up, put_off, unknown
from consumer.metrics import WorkerMetrics
from consumer.pace import Pace
from consumer.work import Work
from events.failures import Refused, Unavailable
from events.runtime import Runtime
from handlers.protocol import Deferred, Skipped
from storage.leases import Lease

log = structlog.get_logger(__name__)

TURN_SECONDS = 0.005
"""After so long without a pause a handler that never waits lets others have the loop."""
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


class Attempts:
    """Owns the tasks. `notify` is called whenever something ended; `fresh` says whether a lease got at a
    moment still holds for long enough to begin."""

    def __init__(
        self,
        work: Work,
        runtime: Runtime,
        metrics: WorkerMetrics,
        notify: Callable[[], None],
        fresh: Callable[[float], bool],
    ) -> None:
        self._work = work
        self._terms = work.terms
        self._runtime = runtime
        self._notify = notify
        self._fresh = fresh
        self._pace = Pace(self._terms.rate, runtime)
        self._counted = metrics.attempts
        metrics.running.labels(work.handler).set_function(lambda: len(self._running))
        self._waiting: dict[Any, Held] = {}
        self._running: dict[Any, Held] = {}
        self._runners = 0
        self._alarm: asyncio.TimerHandle | None = None
        self.seconds = 0.0
        """What a call takes, lately; 0: unknown."""
        self.ended: list[Ended] = []
        """Not stored yet."""

    @property
    def count(self) -> int:
        """Leases held, those included whose end is not stored yet."""
        return len(self._waiting) + len(self._running) + len(self.ended)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def ready(self) -> float:
        """How many could begin at once."""
        return min(self._terms.concurrency - len(self._running), self._pace.ready)

    @property
    def none(self) -> bool:
        """Whether nothing is held."""
        return not self.count

    def held(self) -> list[Held]:
        return [*self._waiting.values(), *self._running.values()]

    def add(self, held: Iterable[Held], tasks: asyncio.TaskGroup) -> None:
        for one in held:
            if running := self._running.get(one.lease.mark):
                self._abort(running)  # its lease ended unnoticed, and we were the one to claim it again
            self._waiting[one.lease.mark] = one
        self.begin(tasks)

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Have as many run as may and can."""
        for _ in range(min(len(self._waiting), self._terms.concurrency - self._runners)):
            self._runners += 1
            runner = tasks.create_task(self._run_waiting(tasks), name=f"attempts {self._work.handler}")
            runner.add_done_callback(self._gone)

    def lose(self, lease: Lease) -> None:
        """The lease is somebody else's: so is the effect."""
        log.warning("lease_lost", handler=self._work.handler)
        waiting = self._waiting.get(lease.mark)
        if waiting and waiting.lease == lease:
            del self._waiting[lease.mark]
        running = self._running.get(lease.mark)
        if running and running.lease == lease:
            self._abort(running)

    def give_back(self, unwanted: Callable[[Lease], bool]) -> None:
        """What has not begun and is not to begin here and now: as if it had never been claimed."""
        for mark, held in list(self._waiting.items()):
            if unwanted(held.lease):
                del self._waiting[mark]
                self.ended.append(put_off(held.lease, held.load, 0.0, None))

    def _abort(self, held: Held) -> None:
        if held.task is not None:
            held.task.cancel()

    def _gone(self, _: asyncio.Task[None]) -> None:
        self._runners -= 1
        self._notify()

    async def _run_waiting(self, tasks: asyncio.TaskGroup) -> None:
        task, turn = asyncio.current_task(), self._runtime.monotonic()
        while (held := self._next(tasks)) is not None:
            held.task = task
            mark, began = held.lease.mark, self._runtime.monotonic()
            self._running[mark] = held
            try:
                self.ended.append(await self._attempt(held))
            finally:
                if self._running.get(mark) is held:
                    del self._running[mark]
            now = self._runtime.monotonic()
            self.seconds += (now - began - self.seconds) * 0.05 if self.seconds else now - began
            self._notify()
            if now - turn > TURN_SECONDS:
                await asyncio.sleep(0)
                turn = self._runtime.monotonic()

    def _next(self, tasks: asyncio.TaskGroup) -> Held | None:
        for mark, held in self._waiting.items():
            if self._fresh(held.since) and mark not in self._running:
                break
        else:
            return None
        if not self._pace.take():
            self._wake_in(self._pace.wait, tasks)
            return None
        return self._waiting.pop(mark)

    def _wake_in(self, seconds: float, tasks: asyncio.TaskGroup) -> None:
        if self._alarm is None:

            def ring() -> None:
                self._alarm = None
                self.begin(tasks)

            self._alarm = asyncio.get_running_loop().call_later(seconds, ring)

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    async def _attempt(self, held: Held) -> Ended:
        ended = await self._ended(held)
        self._counted.labels(self._work.handler, ended.told).inc()
        if ended.error is not None:
            log.info(
                "effect_failed",
                handler=self._work.handler,
                attempts=ended.result.attempts,
                wait=round(ended.result.wait / 1000, 1),
                error=ended.result.error,
            )
        return ended

    async def _ended(self, held: Held) -> Ended:
        lease, load = held.lease, held.load
        most = self._terms.retry.attempts
        if load is None:
            gone = Refused("payload_missing", "the record behind this effect is gone")
            return given_up(lease, load, gone, ())
        if lease.taken_over and self._terms.on_unknown == "give_up":
            return given_up(lease, load, unknown("its worker was lost in the middle of the call"), ())
        if lease.taken_over and most is not None and lease.attempts > most:
            # Every try so far ended with its worker: perhaps it is what ends them.
            lost = Refused("attempts_used_up", f"no answer from any of {most} tries")
            return given_up(lease, load, lost, ())
        calls: list[Call] = []
        try:
            answer = await self._called(held, calls)
        except Exception as error:
            return self._failed(lease, load, error, calls)
        if isinstance(answer, Deferred):
            return put_off(lease, load, answer.seconds, f"deferred: {answer.reason}")
        return done(lease, load, answer, calls)

    def _failed(self, lease: Lease, load: Any, error: Exception, calls: Sequence[Call]) -> Ended:
        if isinstance(error, Refused):
            return given_up(lease, load, error, calls)
        sure = isinstance(error, Unavailable) and not error.sent
        if self._terms.on_unknown == "give_up" and not sure:
            return given_up(lease, load, unknown(f"the call ended in {type(error).__name__}"), calls)
        return again(lease, load, error, calls, self._terms.retry, self._runtime.random())

    async def _called(self, held: Held, calls: list[Call]) -> Skipped | Deferred | None:
        """One call, and those that follow at once when it got no answer; notes how each failed one ended."""
        retry = self._terms.retry
        left = (
            retry.at_once
            if retry.attempts is None
            else min(retry.at_once, retry.attempts - held.lease.attempts)
        )
        if left <= 0 or held.lease.taken_over:
            return await self._call(held, calls)
        retrying = AsyncRetrying(
            retry=retry_if_exception(self._at_once),
            stop=stop_after_attempt(1 + left),
            wait=AT_ONCE,
            reraise=True,
        )
        answer: Skipped | Deferred | None = await retrying(self._call, held, calls)
        return answer

    async def _call(self, held: Held, calls: list[Call]) -> Skipped | Deferred | None:
        try:
            async with asyncio.timeout(self._terms.timeout):
                return await self._work.run(
                    held.load, held.lease._replace(attempts=held.lease.attempts + len(calls))
                )
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            calls.append(Call.NEITHER)
            raise RuntimeError("the handler cancelled itself") from error
        except Exception as error:
            calls.append(call_of(error))
            raise

    def _at_once(self, error: BaseException) -> bool:
        if not isinstance(error, Exception) or call_of(error) is not Call.UNAVAILABLE:
            return False
        if isinstance(error, Unavailable):
            unsure = error.sent and self._terms.on_unknown == "give_up"
            return error.retry_after is None and not unsure
        return self._terms.on_unknown == "retry"
