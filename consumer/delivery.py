"""Delivers the pending effects of one handler: leases what is due, runs it, stores how it went."""

import asyncio
from typing import Any

import structlog

from consumer.letters import sentence_of
from consumer.metrics import WorkerMetrics
from consumer.progress import Progress
from consumer.waiting import Patience
from consumer.work import Buried, Work
from events.failures import Refused, Unavailable
from events.runtime import Runtime
from handlers.protocol import Skipped
from storage.database import Database, Transaction
from storage.effects import Lease, Mark, Result, lease_due, renew_leases, store_results
from storage.payloads import drop_settled_payloads
from storage.schema import State

log = structlog.get_logger(__name__)

LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
POLL_SECONDS = 1.0
"""How soon a retry that fell due, or work that a lost worker left, is looked for."""


class Delivery:
    """Owns the attempts that run in this worker, at most `work.concurrency` at a time.

    Leases, not tasks, say whose an effect is: a worker that was frozen finds its word no longer counts.
    """

    def __init__(
        self, work: Work, database: Database, runtime: Runtime, progress: Progress, metrics: WorkerMetrics
    ) -> None:
        self.handler = work.handler
        self._work = work
        self._database = database
        self._runtime = runtime
        self._patience = Patience(progress, runtime)
        self._metrics = metrics
        self._owner = runtime.token()
        self._running: dict[Mark, tuple[Lease, asyncio.Task[None]]] = {}
        self._ended: list[tuple[Result, Buried | None]] = []
        """Attempts that ended, not stored yet."""
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to do before the next poll."""
        self._awake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then let what runs end and store it."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._renew(), name=f"renew {self.handler}")
                while not (stop.is_set() and not self._running and not self._ended):
                    full = await self._exchange(stop, tasks)
                    if not full:
                        await self._pause()
                renewing.cancel()
        finally:
            stopping.cancel()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._awake.wait()
        except TimeoutError:
            pass

    async def _exchange(self, stop: asyncio.Event, tasks: asyncio.TaskGroup) -> bool:
        """One transaction: store what ended, lease what is due. Returns whether there may be more at once."""
        self._awake.clear()
        ended = list(self._ended)
        free = 0 if stop.is_set() else self._work.concurrency - len(self._running)
        if not ended and not free:
            return False
        leases, loads = await self._patience.outlast(
            f"effects of {self.handler}", lambda: self._in_transaction(ended, free)
        )
        del self._ended[: len(ended)]
        for lease in leases:
            self._start(lease, loads.get(lease.mark), tasks)
        return 0 < free == len(leases)

    async def _in_transaction(
        self, ended: list[tuple[Result, Buried | None]], free: int
    ) -> tuple[list[Lease], dict[Mark, Any]]:
        async with self._database.transaction() as transaction:
            handler = transaction.names.find(self.handler)
            if handler is None:
                return [], {}
            await self._store(transaction, ended)
            leases = await lease_due(transaction, handler, self._owner, free, LEASE_SECONDS) if free else []
            return leases, await self._work.load(transaction, leases) if leases else {}

    async def _store(self, transaction: Transaction, ended: list[tuple[Result, Buried | None]]) -> None:
        ours = await store_results(transaction, self._owner, [result for result, _ in ended])
        buried = [grave for result, grave in ended if grave and result.lease.mark in ours]
        if buried:
            await self._work.bury(transaction, buried)
        settled = [
            result.lease.mark
            for result, _ in ended
            if result.state is not State.PENDING and result.lease.mark in ours
        ]
        await drop_settled_payloads(transaction, settled)

    def _start(self, lease: Lease, load: Any, tasks: asyncio.TaskGroup) -> None:
        task = tasks.create_task(self._attempt(lease, load), name=f"attempt {self.handler}")
        self._running[lease.mark] = (lease, task)
        self._metrics.running.labels(self.handler).set(len(self._running))

    async def _attempt(self, lease: Lease, load: Any) -> None:
        try:
            self._ended.append(await self._outcome(lease, load))
        finally:
            del self._running[lease.mark]
            self._metrics.running.labels(self.handler).set(len(self._running))
            self.wake()

    async def _outcome(self, lease: Lease, load: Any) -> tuple[Result, Buried | None]:
        most = self._work.retry.attempts
        try:
            if load is None:
                raise Refused("payload_missing", "the record behind this effect is gone")
            if most is not None and lease.attempts > most:
                # Every try so far ended with its worker: perhaps it is what ends them.
                raise Refused("attempts_used_up", f"no answer from any of {most} tries")
            async with asyncio.timeout(self._work.timeout):
                skipped = await self._work.run(load, lease)
        except Refused as refused:
            return self._given_up(lease, load, refused)
        except Exception as error:
            if most is not None and lease.attempts >= most:
                return self._given_up(lease, load, error)
            return self._again(lease, error), None
        return self._done(lease, skipped), None

    def _done(self, lease: Lease, skipped: Skipped | None) -> Result:
        self._metrics.attempts.labels(self.handler, "skipped" if skipped else "done").inc()
        if skipped:
            return Result(lease, State.SKIPPED, error=skipped.reason)
        return Result(lease, State.DONE)

    def _given_up(self, lease: Lease, load: Any, error: Exception) -> tuple[Result, Buried]:
        self._metrics.attempts.labels(self.handler, "dead").inc()
        log.warning("effect_dead", handler=self.handler, attempts=lease.attempts, error=type(error).__name__)
        return Result(lease, State.DEAD, error=_told(error)), Buried(lease, load, error)

    def _again(self, lease: Lease, error: Exception) -> Result:
        self._metrics.attempts.labels(self.handler, "failed").inc()
        wait = self._work.retry.wait(lease.attempts, self._runtime.random())
        if isinstance(error, Unavailable) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        log.info(
            "effect_failed",
            handler=self.handler,
            attempts=lease.attempts,
            wait=round(wait, 1),
            error=_told(error),
        )
        return Result(lease, State.PENDING, wait=int(wait * 1000), error=_told(error))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            leases = [lease for lease, _ in self._running.values()]
            if leases:
                held = await self._patience.outlast(f"leases of {self.handler}", lambda: self._extend(leases))
                self._cancel_lost(leases, held)

    async def _extend(self, leases: list[Lease]) -> set[Mark]:
        async with self._database.transaction() as transaction:
            return await renew_leases(transaction, self._owner, leases, LEASE_SECONDS)

    def _cancel_lost(self, leases: list[Lease], held: set[Mark]) -> None:
        for lease in leases:
            running = self._running.get(lease.mark)
            if lease.mark not in held and running and running[0] == lease:
                log.warning("lease_lost", handler=self.handler)
                running[1].cancel()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {sentence_of(error)}"
