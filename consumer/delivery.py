"""Delivers the pending effects of one handler: leases what is due, runs it, stores how it went."""

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from consumer.attempts import Attempts
from consumer.claims import TakeOver
from consumer.exchange import Exchange, Order
from consumer.guard import GUARDED, GuardLimits
from consumer.metrics import WorkerMetrics
from consumer.newcomers import Room, Taken
from consumer.progress import Progress
from consumer.runs import Held, Runs
from consumer.switches import Switches
from consumer.waiting import Patience, set_within
from consumer.work import Work
from events.runtime import Runtime
from storage.database import Database
from storage.leases import Lease

log = structlog.get_logger(__name__)

LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
POLL_SECONDS = 1.0
"""How soon a retry that fell due, or work that a lost worker left, is looked for."""
TAKE_OVER_SECONDS = 5.0
"""How often leases that ended without a word are looked for: a longer look than the others."""
SETTLING_SECONDS = 10.0
"""After an outage others may still have to store what they did: their leases, which nobody could renew, are
left alone for so long."""
GATHER_SECONDS = 0.02
"""While more is running: for so long results gather, to be stored together."""
AHEAD_SECONDS = 1.0
"""So long a handler must be able to run without a claim: as much is claimed ahead."""
CLAIMS = 4
"""Of what is held ahead one part in so many must be used up before more is claimed: few are not worth it, and
while many are claimed the calls must not run out."""
MOST_AHEAD = 4_000
UNMEASURED_SECONDS = 0.01
"""What a call is thought to take before one has been made."""


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
        self._terms = work.terms
        self._runtime = runtime
        self._patience = Patience(progress, runtime)
        self._owner = runtime.token()
        # With one try, or an outcome that must not be in doubt: claimed when it can begin, and not before.
        self._precise = self._terms.on_unknown == "give_up" or self._terms.retry.attempts == 1
        self._switches = Switches(work.handler, metrics)
        self._exchange = Exchange(work, database, self._owner, self._switches, runtime, limits)
        runs = Runs(work, runtime, self._switches, self._exchange.probes)
        self._attempts = Attempts(work, runtime, metrics, self._notice, self._holds, runs)
        self._awake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = False
        self._more = True
        """Whether there may be something to claim before the next poll."""
        self._polled = self._taken_over = self._exchanged = self._renewed = runtime.monotonic()

    def wake(self) -> None:
        """There is something to claim."""
        self._more = True
        self._awake.set()

    def _notice(self) -> None:
        self._awake.set()

    def _holds(self, since: float) -> bool:
        """Whether a lease of that age holds for as long as it takes to renew it."""
        return self._runtime.monotonic() - since < LEASE_SECONDS * 2 / 3

    def room(self) -> Room:
        """What a batch may lease for us when it stores it."""
        free = 0 if self._precise or self._work.predecessors or not self._tasks else self._free()
        free = free // 2 if self._more else free  # what waits already has a right to the rest
        return Room(self._owner, free, self._beginning(), LEASE_SECONDS)

    def take(self, taken: Iterable[Taken], since: float) -> None:
        """Effects that a batch has leased for us; `since`: before its transaction began."""
        if self._tasks is not None:
            self._attempts.add([Held(one.lease, one.load, since) for one in taken], self._tasks)

    async def run(self, stop: asyncio.Event, settled: asyncio.Event | None = None) -> None:
        """Deliver until `stop`, then let what runs end, give back the rest and store it. `settled`: no batch
        hands anything over any more, if one ever did."""
        settled = settled or stop
        stopping = asyncio.create_task(self._end_at(stop, settled))
        try:
            async with asyncio.TaskGroup() as self._tasks:
                while not (settled.is_set() and self._stopping and self._attempts.none):
                    if not await self._turn(self._tasks):
                        await set_within(self._awake, POLL_SECONDS)
                        await self._gather()
        finally:
            self._tasks = None
            self._attempts.close()
            stopping.cancel()

    async def _end_at(self, stop: asyncio.Event, settled: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._awake.set()
        await settled.wait()
        self._awake.set()

    async def _gather(self) -> None:
        """Let results come together: a transaction for each would cost more than the calls."""
        pause = self._exchanged + GATHER_SECONDS - self._runtime.monotonic()
        if pause > 0 and self._attempts.count > len(self._attempts.ended):
            await asyncio.sleep(min(pause, GATHER_SECONDS))

    def _free(self) -> int:
        """How many more may be held, here or in line."""
        if self._stopping:
            return 0
        if self._precise:
            return self._beginning()
        return self._terms.concurrency + self._ahead() - self._attempts.count

    def _beginning(self) -> int:
        """How many more could begin at once."""
        return int(max(0.0, self._attempts.ready - self._attempts.waiting))

    def _ahead(self) -> int:
        """How many may be held beyond those that run."""
        if self._precise:
            return 0
        seconds = self._attempts.seconds or UNMEASURED_SECONDS
        a_second = self._terms.concurrency / max(seconds, 1e-6)
        if self._terms.rate is not None:
            a_second = min(a_second, self._terms.rate)
        return min(MOST_AHEAD, int(a_second * AHEAD_SECONDS))

    async def _turn(self, tasks: asyncio.TaskGroup) -> bool:
        """One transaction: store what ended, keep what is held, lease what is due. Returns whether there may
        be more at once."""
        self._awake.clear()
        if self._stopping:
            self._attempts.give_back(lambda _: True)
        now = self._runtime.monotonic()
        polls = now - self._polled >= POLL_SECONDS
        ended = list(self._attempts.ended)
        takes_over = now - self._taken_over >= TAKE_OVER_SECONDS or any(
            _is_suspect(one.lease) for one in ended
        )
        renewed = self._to_renew(now)
        wants = self._wanted() if polls or takes_over or self._more else 0
        if not ended and not renewed and not polls and not wants:
            return False
        order = Order(
            ended,
            [held.lease for held in renewed],
            wants,
            self._beginning(),
            self._over() if takes_over else TakeOver.NOTHING,
            LEASE_SECONDS,
            SETTLING_SECONDS,
        )
        exchanged = await self._patience.outlast(
            f"effects of {self.handler}", lambda: self._exchange.carry_out(order)
        )
        del self._attempts.ended[: len(ended)]
        self._switches.note_stored()
        for one in self._attempts.ended:
            self._switches.note(one.calls)  # since then
        self._polled = now if polls else self._polled
        if takes_over and wants:
            self._taken_over = now - (TAKE_OVER_SECONDS if exchanged.more_lost else 0.0)
        self._exchanged = self._runtime.monotonic()
        self._renew(renewed, exchanged.lost, now)
        self._attempts.ended += exchanged.early
        self._more = exchanged.more or (self._more and not wants)
        if not self._switches.all_on:
            self._attempts.give_back(lambda lease: self._switches.off(lease.dependency))
        self._attempts.add(
            [Held(lease, exchanged.loads.get(lease.mark), now) for lease in exchanged.leases], tasks
        )
        return exchanged.more and self._wanted() > 0

    def _wanted(self) -> int:
        """How many to claim; 0: not yet."""
        free = self._free()
        return free if free * CLAIMS >= self._ahead() else 0

    def _to_renew(self, now: float) -> list[Held]:
        if now - self._renewed < RENEW_SECONDS / 2:
            return []
        self._renewed = now
        return [held for held in self._attempts.held() if now - held.since >= RENEW_SECONDS / 2]

    def _renew(self, renewed: Sequence[Held], lost: Sequence[Lease], now: float) -> None:
        gone = set(lost)
        for held in renewed:
            if held.lease in gone:
                self._attempts.lose(held.lease)
            else:
                held.since = now

    def _over(self) -> TakeOver:
        """One suspect at a time: what ends workers must not be counted to those around it."""
        suspect = any(_is_suspect(held.lease) for held in self._attempts.held())
        return TakeOver.UNSUSPECTED if suspect else TakeOver.ALL


def _is_suspect(lease: Lease) -> bool:
    return lease.taken_over and lease.suspect
