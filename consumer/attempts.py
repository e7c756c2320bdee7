"""Effects of one handler that this worker holds: those that wait for a slot, run, or have ended."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import structlog

from consumer.endings import Ended, put_off, unfit
from consumer.metrics import WorkerMetrics
from consumer.pace import Pace
from consumer.runs import Held, Runs
from consumer.work import Work
from events.runtime import Runtime
from storage.leases import Lease

log = structlog.get_logger(__name__)

TURN_SECONDS = 0.005
"""After so long without a pause a handler that never waits lets others have the loop."""


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
        runs: Runs,
    ) -> None:
        self._work = work
        self._terms = work.terms
        self._runtime = runtime
        self._notify = notify
        self._fresh = fresh
        self._runs = runs
        self._pace = Pace(self._terms.rate, runtime)
        self._counter = cache(partial(metrics.attempts.labels, work.handler))
        """Of what is told of an attempt. Kept: to look up a labelled counter costs more than to count."""
        metrics.running.labels(work.handler).set_function(lambda: len(self._running))
        # Its first key is found at once however many went before: a dict's is searched for among their gaps.
        self._waiting: OrderedDict[Any, Held] = OrderedDict()
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
            if unwanted(held.lease) and not unfit(held.lease, held.load, self._terms):
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
            if self._runs.may_begin(held.lease) and self._fresh(held.since) and mark not in self._running:
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
        ended = await self._runs.ended(held)
        self._counter(ended.told).inc()
        if ended.error is not None:
            log.info(
                "effect_failed",
                handler=self._work.handler,
                attempts=ended.result.attempts,
                wait=round(ended.result.wait / 1000, 1),
                error=ended.result.error,
            )
        return ended
