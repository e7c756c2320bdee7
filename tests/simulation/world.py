"""One schedule: a world made from a seed, hurt for some simulated seconds, healed, run to rest and judged."""

import asyncio
import math
import sqlite3
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from events.failures import Unavailable
from handlers.loyalty.policy import STANDARD
from handlers.loyalty.verification import verify
from tests.consumer.scripted import TOPIC
from tests.simulation.broker import BrokerIlls, SimulatedLog
from tests.simulation.database import inline_database
from tests.simulation.faults import HURT_SECONDS
from tests.simulation.group import Group
from tests.simulation.judgement import Judge
from tests.simulation.load import load
from tests.simulation.loop import Circling, Machine, SimulatedLoop, pause, run
from tests.simulation.operator import Operator
from tests.simulation.outside import Outside, the_fates
from tests.simulation.process import STOP_SECONDS, Process
from tests.simulation.result import Result
from tests.simulation.runtime import EPOCH
from tests.simulation.store import Ills, Store
from tests.simulation.template import Template
from tests.simulation.watching import Watcher
from tests.simulation.weather import Weather, some_weather

REST_SECONDS = 120.0
"""Within these a healed world comes to rest, or something hangs."""
LOOK_SECONDS = 0.5


class Broken(Exception):
    """A promise was broken; what the rest of the schedule would do is of no interest."""


class World:
    """Owns everything in a schedule."""

    def __init__(
        self, seed: int, template: Template, weather: Callable[[Random], Weather] = some_weather
    ) -> None:
        self.seed = seed
        self.chance = chance = Random(f"schedule-{seed}")
        self.loop = SimulatedLoop(chance, chance.choice((0.0, 0.0, 0.1, 0.5)))
        self.told: list[tuple[Any, ...]] = []
        self.wrong = self.loop.wrong
        self.counted = Counter[str]()
        self.troubles: list[tuple[Machine | None, float, float]] = []
        """Who was out of touch, from when, for how many seconds; None: everybody."""
        self.store_ahead = 0.0
        """Seconds by which the database's clock has jumped."""
        self.jumps: list[float] = []
        """When it did."""
        self.store = Store(template.emptied(self.store_time), chance)
        self.log = SimulatedLog(chance, chance.choice((1, 2, 3)))
        self.group = Group(self.log, self.loop, chance)
        self.outside = Outside(chance, self.loop.time, self.kill)
        self.processes = [Process(self, number) for number in range(chance.choice((1, 2, 2, 2, 3)))]
        self.weather = weather(chance)
        self.outside.slow = self.weather.slow
        self.load = load(chance)
        redemptions = sorted({one.meaning["redemption"] for one in self.load if one.meaning})
        self.outside.fates = the_fates(chance, redemptions, self.weather.misfortune)
        self.watcher = Watcher(self)
        self.operator = Operator(self.store, chance, self.trace)
        for part in (self.store, self.log, self.outside):
            part.trace = self.trace
        self.loop.on_doom = self.kill
        self._healing = False

    def store_time(self) -> float:
        """What the database's clock says."""
        return EPOCH + self.loop.time() + self.store_ahead

    def trace(self, *told: Any) -> None:
        self.told.append((round(self.loop.time(), 4), *told))

    def broken(self, what: str) -> None:
        self.trace("BROKEN", what)
        self.wrong.append(what)

    def troubled(self, machine: Machine | None, seconds: float) -> None:
        self.troubles.append((machine, self.loop.time(), seconds))

    def kill(self, machine: Machine) -> None:
        if not machine.dead:
            self.trace("killed", machine)
            self.counted["kill"] += 1
            self.troubled(machine, math.inf)
            self.loop.kill(machine)
            self.store.end_of(machine)
            self.group.gone(machine)

    def start(self, process: Process) -> None:
        """Unless it runs, or the schedule nears its end, when all are started."""
        if not process.running and not self._healing:
            process.start()

    def restore(self, backup: sqlite3.Connection) -> None:
        self.trace("restored")
        self.troubled(None, math.inf)
        self.store.restore(backup)
        self.watcher.restored()

    def run(self) -> Result:
        try:
            run(self.loop, self._main())
        except Circling as circling:
            self.broken(f"hangs: {circling}")
        except Broken:
            pass
        steps = self.loop.steps
        self._dissolve()
        self.loop.close()
        for counted in (self.store.counted, self.log.counted, self.outside.counted):
            self.counted.update(counted)
        return Result(
            self.seed,
            self.wrong,
            self.counted,
            sum(map(len, self.log.topics[TOPIC].values())),
            len(self.outside.calls),
            steps,
            self.loop.time(),
            self.told,
        )

    async def _main(self) -> None:
        chance = self.chance
        background = [asyncio.create_task(self.group.run(), name="group")]
        for process in self.processes:
            process.start()
        weather = self.weather
        self.store.ills, self.log.ills, self.outside.trouble = weather.store, weather.log, weather.trouble
        hurting = [asyncio.create_task(self._deliver(), name="sender")]
        hurting += [
            asyncio.create_task(self._suffer(at, fault), name=fault.__name__) for at, fault in weather.faults
        ]
        await asyncio.sleep(HURT_SECONDS)
        self._healing = True
        self.store.ills, self.log.ills, self.outside.trouble = Ills(), BrokerIlls(), 0.0
        await asyncio.wait(hurting)
        for task in hurting:
            task.result()
        if self.counted["paused"]:  # an older database may not know that it was resumed
            await self.operator.resume("loyalty", *weather.handlers)
        if chance.random() < 0.5:
            self.outside.mended = True
            await self.operator.replay()
        for process in self.processes:
            if not process.running:
                process.start()
        await self._rest()
        if not self.wrong:
            for what in Judge(self).faults():
                self.broken(what)
            await self._verify()
        await self._stop()
        for task in background:
            task.cancel()

    async def _verify(self) -> None:
        """As `redemptions ledger verify`, which has to agree."""
        async with inline_database(self.store).snapshot() as snapshot:
            async for finding in verify(snapshot, STANDARD):
                self.broken(f"ledger verify: {finding}")

    async def _deliver(self) -> None:
        """As the ingress does: again until the log has it."""
        for told in self.load:
            await pause(self.chance, 0.8, 0.7)
            while True:
                try:
                    place = self.chance.randrange(self.log.partitions)
                    await self.log.append(TOPIC, told.body, partition=place)
                    break
                except Unavailable:
                    await asyncio.sleep(0.2)

    async def _suffer(self, at: float, fault: Any) -> None:
        await asyncio.sleep(at)
        name = fault.__name__.replace("_", " ")
        self.trace("fault", name)
        self.counted[name] += 1
        await fault(self)

    async def _rest(self) -> None:
        """Until nothing is left to do."""
        deadline = self.loop.time() + REST_SECONDS
        while left := self.watcher.what_is_left():
            if self.wrong:
                return
            if self.loop.time() > deadline:
                self.broken(f"not at rest after {REST_SECONDS:.0f} s: {left}")
                return
            for process in self.processes:
                if not process.running:  # killed by a call
                    process.start()
            await asyncio.sleep(LOOK_SECONDS)

    async def _stop(self) -> None:
        for process in self.processes:
            process.terminate()
        lives = [asyncio.create_task(process.ended()) for process in self.processes]
        _, late = await asyncio.wait(lives, timeout=STOP_SECONDS)
        if late:
            self.broken(f"{len(late)} workers did not stop within {STOP_SECONDS} s")

    def _dissolve(self) -> None:
        """End what is left, so that nothing of this world outlives it."""
        for process in self.processes:
            if process.machine:
                self.loop.kill(process.machine)
        left = list(self.loop.tasks.values())
        for task in left:
            task.cancel()
        if left:
            self.loop.steps = 0
            try:
                run(self.loop, _gone(left))
            except Circling:
                if not self.wrong:
                    self.broken(f"tasks that do not end when they are cancelled: {left}")


async def _gone(tasks: list[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)
