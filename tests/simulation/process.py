"""One simulated worker process: the product's Worker, wired as `redemptions worker` wires it."""

import asyncio
import math
from itertools import count
from typing import Any

from prometheus_client import CollectorRegistry

from consumer.delivery import Delivery
from consumer.jobs import JobRunner
from consumer.metrics import WorkerMetrics
from consumer.progress import Progress
from consumer.waiting import Patience
from consumer.work import LetterWork, Work, works_of
from consumer.worker import Worker, WorkerConfig
from events.failures import Unavailable
from handlers.loyalty.handler import Loyalty
from handlers.protocol import Handlers
from handlers.record import Record
from tests.consumer.scripted import TOPIC
from tests.simulation.database import inline_database
from tests.simulation.group import SESSION_SECONDS, SimulatedConsumer
from tests.simulation.loop import Machine
from tests.simulation.outside import Caller, Payer, Sales
from tests.simulation.runtime import SimulatedRuntime

GROUP = "redemptions"
LETTERS = "redemptions.dead-letters"
DRAIN_SECONDS = 2.0
STOP_SECONDS = 10.0
"""What a stop may take: the drain deadline, a rebalance under way, and leaving the group."""
MOST_RECORDS = 6
MOST_SKEW = 86_400.0


class Process:
    """Owns one place where a worker runs: each start is a new machine, which remembers nothing."""

    def __init__(self, world: Any, number: int) -> None:
        self._world = world
        self._number = number
        self._starts = count()
        self.machine: Machine | None = None
        self.progress: Progress | None = None
        self.runtime: SimulatedRuntime | None = None
        self._stop: asyncio.Event | None = None
        self._life: asyncio.Task[None] | None = None
        self.stopping_since: float | None = None

    @property
    def running(self) -> bool:
        return self._life is not None and not self._life.done() and not (self.machine and self.machine.dead)

    @property
    def waits_for(self) -> list[str]:
        """Why it is not ready."""
        return self.progress.ready() if self.running and self.progress else ["not running"]

    def start(self) -> None:
        world = self._world
        self.machine = Machine(f"w{self._number}.{next(self._starts)}")
        self._stop, self.stopping_since = asyncio.Event(), None
        self._life = world.loop.begin(self.machine, self._live(self.machine, self._stop), "life")
        world.trace("started", self.machine)

    def terminate(self) -> None:
        if self.running and self._stop and not self._stop.is_set():
            self._world.trace("told to stop", self.machine)
            self.stopping_since = self._world.loop.time()
            self._stop.set()

    async def ended(self) -> None:
        if self._life:
            await asyncio.wait([self._life])

    def _stopped_without_database(self) -> bool:
        """Whether it may have been unable to give back what it held."""
        since = self.stopping_since
        return since is not None and any(
            machine is None and since < begin + seconds < math.inf
            for machine, begin, seconds in self._world.troubles
        )

    def _handlers(self) -> Handlers:
        outside, ours = self._world.outside, self._world.weather.handlers
        sales = (Sales(outside),) if "sales" in ours else ()
        caller = (Caller(outside),) if "caller" in ours else ()
        payer = (Payer(outside, tuple(each.name for each in caller)),) if "payer" in ours else ()
        return Handlers((Loyalty(), Record(), *sales), (*caller, *payer))

    def _assembled(self, machine: Machine) -> tuple[Worker, JobRunner]:
        world = self._world
        skew = world.chance.choice((0.0, -MOST_SKEW, MOST_SKEW))
        self.runtime = runtime = SimulatedRuntime(world.loop, world.chance, skew)
        database = inline_database(world.store)
        handlers = self._handlers()
        metrics = WorkerMetrics(CollectorRegistry())
        self.progress = progress = Progress(runtime)
        works: list[Work] = [*works_of(handlers, GROUP)]
        works.append(LetterWork(world.log, LETTERS))
        jobs = JobRunner(database, world.log, TOPIC, runtime, Patience(progress, runtime))
        worker = Worker(
            SimulatedConsumer(world.group, world.chance, machine),
            database,
            handlers,
            [Delivery(work, database, runtime, progress, metrics) for work in works],
            WorkerConfig(GROUP, TOPIC, DRAIN_SECONDS, MOST_RECORDS),
            runtime,
            progress,
            metrics,
        )
        return worker, jobs

    async def _live(self, machine: Machine, stop: asyncio.Event) -> None:
        worker, jobs = self._assembled(machine)
        try:
            while not stop.is_set():
                try:
                    await worker.join()
                    break
                except Unavailable:
                    await asyncio.sleep(0.2)
            else:
                return
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(jobs.run(stop), name="jobs")
                await worker.run(stop)
            if not stop.is_set() and not machine.dead:
                self._world.broken(f"{machine} ended by itself")
        except BaseException as error:
            if machine.dead:
                return
            self._world.broken(f"{machine} ended of {error!r}")
        finally:
            machine.dead = True  # else the group would have what is left of it join again, for ever
            if self._stopped_without_database():
                self._world.troubled(machine, 0.0)  # its leases end without a word
            # Having joined without knowing, it left without a goodbye.
            self._world.loop.call_later(SESSION_SECONDS, self._world.group.gone, machine)
        self._world.trace("ended", machine)
