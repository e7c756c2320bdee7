"""Delivers the pending effects of one handler: leases what is due, runs it, stores how it went."""

import asyncio
from typing import Any, NamedTuple

import structlog

from consumer.attempts import Attempts, Ended, fate_of, given_back
from consumer.effect_guard import EffectGuard
from consumer.guard import GUARDED, UNGUARDED, GuardLimits
from consumer.letters import DEAD_LETTER_TOPIC
from consumer.metrics import WorkerMetrics
from consumer.progress import Progress
from consumer.waiting import Patience, set_within
from consumer.work import Work
from events.runtime import Runtime
from storage.database import Database, Transaction
from storage.effects import Lease, Mark, lease_due, renew_leases, store_results
from storage.payloads import drop_settled_payloads
from storage.schema import State

log = structlog.get_logger(__name__)

LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
POLL_SECONDS = 1.0
"""How soon a retry that fell due, or work that a lost worker left, is looked for."""
SETTLING_SECONDS = 10.0
"""After an outage others may still have to store what they did: their leases, which nobody could renew, are
left alone for so long."""


class Exchanged(NamedTuple):
    leases: list[Lease]
    loads: dict[Mark, Any]
    lost: list[Lease]


class Delivery:
    """Owns the leases of one handler's effects in this worker.

    Leases, not tasks, say whose an effect is: a worker that was frozen finds its word no longer counts.
    """

    def __init__(
        self,
        work: Work,
        database: Database,
        runtime: Runtime,
        progress: Progress,
        metrics: WorkerMetrics,
        limits: GuardLimits = GUARDED,
    ) -> None:
        self.handler = work.handler
        self._work = work
        self._database = database
        self._runtime = runtime
        self._patience = Patience(progress, runtime)
        self._owner = runtime.token()
        # A letter that the dead-letter topic does not take is no less a letter: nothing is to be guarded.
        self._guard = EffectGuard(work.handler, UNGUARDED if work.handler == DEAD_LETTER_TOPIC else limits)
        self._attempts = Attempts(work, runtime, metrics, self.wake)
        self._awake = asyncio.Event()
        self._renewed = 0.0
        self._in_touch_since: float | None = None

    def wake(self) -> None:
        """There may be something to do before the next poll."""
        self._awake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then let what runs end and store it."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            async with asyncio.TaskGroup() as tasks:
                while not (stop.is_set() and self._attempts.none):
                    if not await self._exchange(stop, tasks):
                        await set_within(self._awake, POLL_SECONDS)
        finally:
            stopping.cancel()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()

    async def _exchange(self, stop: asyncio.Event, tasks: asyncio.TaskGroup) -> bool:
        """One transaction: store what ended, keep what runs, lease what is due. Returns whether there may be
        more at once."""
        self._awake.clear()
        ended = list(self._attempts.ended)
        running = self._attempts.leases() if self._renewal_is_due() else []
        free = 0 if stop.is_set() else self._work.concurrency - self._attempts.count
        if not ended and not running and not free:
            return False
        exchanged = await self._patience.outlast(
            f"effects of {self.handler}", lambda: self._in_transaction(ended, running, free)
        )
        del self._attempts.ended[: len(ended)]
        for lost in exchanged.lost:
            self._attempts.cancel(lost)
        for lease in exchanged.leases:
            self._attempts.start(lease, exchanged.loads.get(lease.mark), tasks)
        return 0 < free == len(exchanged.leases)

    def _renewal_is_due(self) -> bool:
        return self._runtime.monotonic() - self._renewed >= RENEW_SECONDS

    async def _in_transaction(self, ended: list[Ended], running: list[Lease], free: int) -> Exchanged:
        since, self._in_touch_since = self._in_touch_since, None
        now = self._runtime.monotonic()
        async with self._database.transaction() as transaction:
            judgement = await self._guard.judge(transaction, [fate_of(one) for one in ended])
            await self._store(
                transaction,
                [given_back(one) if at in judgement.spared else one for at, one in enumerate(ended)],
            )
            # Before others are leased: ours must not look expired, for then we would lease them once more.
            held = await renew_leases(transaction, self._owner, running, LEASE_SECONDS)
            settled = since is not None and now - since >= SETTLING_SECONDS
            leases = await self._lease(transaction, free, take_over=settled) if free else []
            loads = await self._work.load(transaction, leases) if leases else {}
            await self._guard.conclude(transaction, judgement)
        self._guard.accept(judgement)
        self._in_touch_since = now if since is None else since
        self._renewed = now if running else self._renewed
        return Exchanged(leases, loads, [lease for lease in running if lease.mark not in held])

    async def _lease(self, transaction: Transaction, free: int, *, take_over: bool) -> list[Lease]:
        handler = transaction.names.find(self.handler)
        if handler is None:
            return []
        return await lease_due(transaction, handler, self._owner, free, LEASE_SECONDS, take_over=take_over)

    async def _store(self, transaction: Transaction, ended: list[Ended]) -> None:
        ours = await store_results(transaction, self._owner, [one.result for one in ended])
        told = [one for one in ended if one.result.lease.mark in ours]
        if buried := [one.buried for one in told if one.buried]:
            await self._work.bury(transaction, buried)
        await drop_settled_payloads(
            transaction, [one.result.lease.mark for one in told if one.result.state is not State.PENDING]
        )
