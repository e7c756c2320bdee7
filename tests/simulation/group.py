"""The consumer group of a simulated world: who holds what, and what a member knows of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from random import Random

from broker.protocols import Assignment, Bounds, Fenced, Record
from tests.consumer.scripted import TOPIC
from tests.simulation.broker import SimulatedLog
from tests.simulation.loop import Machine, SimulatedLoop, pause

REBALANCE_SECONDS = 6.0
"""Longer than the drain deadline, as in production."""
SESSION_SECONDS = 3.0


class Group:
    """The coordinator: deals partitions to its members, and throws out who is not heard of."""

    def __init__(self, log: SimulatedLog, loop: SimulatedLoop, chance: Random) -> None:
        self.log = log
        self._loop = loop
        self._chance = chance
        self.members: dict[SimulatedConsumer, int] = {}
        """With the generation that each knows of."""
        self.generation = 0
        self.rounds = 0
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """A rebalance."""
        self._wanted.set()

    def join(self, member: "SimulatedConsumer") -> None:
        self.members[member] = -1
        if member.machine.dead:  # it died while its request was under way
            self._loop.call_later(SESSION_SECONDS, self.leave, member)
        self.want()

    def leave(self, member: "SimulatedConsumer") -> None:
        if self.members.pop(member, None) is not None:
            self.want()

    def throw_out(self, member: "SimulatedConsumer") -> None:
        """It learns of it when it next hears from us."""
        self.leave(member)
        if not member.machine.dead:
            self._loop.begin(member.machine, member.lost(), "lost")

    def gone(self, machine: Machine) -> None:
        """Not heard of for the length of a session."""
        for member in [member for member in self.members if member.machine is machine]:
            self.throw_out(member)

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await pause(self._chance, 0.2)
            await self._round()

    async def _round(self) -> None:
        self.rounds += 1
        asked = {
            self._loop.begin(member.machine, member.release(), "release"): member for member in self.members
        }
        _, silent = await asyncio.wait(asked, timeout=REBALANCE_SECONDS) if asked else (set(), set())
        for task in sorted(silent, key=hash):
            self.throw_out(asked[task])
        self.generation += 1
        members = [member for member in asked.values() if member in self.members]
        if not members:
            return
        hands: list[list[int]] = [[] for _ in members]
        for partition in range(self.log.partitions):
            self._chance.choice(hands).append(partition)
        for member, hand in zip(members, hands, strict=True):
            self.members[member] = self.generation
            work = member.assigned(self.generation, frozenset(hand))
            self._loop.begin(member.machine, work, "assigned")


class SimulatedConsumer:
    """One member, as the product's client behaves: what it knows of the group may have passed."""

    def __init__(self, group: Group, chance: Random, machine: Machine) -> None:
        self.machine = machine
        self._group = group
        self._log = group.log
        self._chance = chance
        self._assignment = Assignment(1, frozenset(), joined=False)
        self._generation = -1
        self._places: dict[int, int] = {}
        self._turn = 0
        self._changed: asyncio.Future[None] | None = None
        self._stopped = False
        self._release = asyncio.Lock()

    async def start(self, on_revoked: Callable[[], Awaitable[None]]) -> None:
        self._on_revoked = on_revoked

        async def join() -> None:
            self._group.join(self)

        await self._log.call("join", join)

    def assignment(self) -> Assignment:
        return self._assignment

    async def release(self) -> None:
        """Before a rebalance, or because we were thrown out."""
        if self.machine.dead:
            return
        async with self._release:
            try:
                if self._assignment.partitions:
                    async with asyncio.timeout(REBALANCE_SECONDS):
                        await self._on_revoked()
            finally:
                self._change(frozenset(), joined=False)

    async def assigned(self, generation: int, partitions: frozenset[int]) -> None:
        if self._group.members.get(self) == generation and not self._stopped:
            self._generation = generation
            self._change(partitions, joined=True)

    async def lost(self) -> None:
        await pause(self._chance, 0.5)
        await self.release()
        if not self._stopped:
            self._group.join(self)

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        async def answer() -> dict[int, int | None]:
            return {p: self._log.committed.get(p) for p in partitions}

        offsets: dict[int, int | None] = await self._log.call("read offsets", answer)
        return offsets

    async def bounds(self, partitions: Iterable[int]) -> dict[int, Bounds]:
        async def answer() -> dict[int, Bounds]:
            return {p: Bounds(self._log.starts[p], self._log.end(p)) for p in partitions}

        bounds: dict[int, Bounds] = await self._log.call("read bounds", answer)
        return bounds

    def seek(self, partition: int, offset: int) -> None:
        if partition in self._assignment.partitions:
            self._places[partition] = offset
            self.wake()

    async def fetch(
        self,
        max_records: int,
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, list[Record]]:
        epoch = self._assignment.epoch

        async def nothing() -> None: ...

        await self._log.call("fetch", nothing)
        if epoch != self._assignment.epoch:
            return epoch, []
        records = self._ready(max_records)
        if not records:
            await self._wait(timeout)
            records = self._ready(max_records) if epoch == self._assignment.epoch else []
        for record in records:
            self._places[record.partition] = record.next_offset
        return epoch, records

    async def commit(self, epoch: int, offsets: Mapping[int, int]) -> None:
        generation = self._generation
        if epoch != self._assignment.epoch:
            raise Fenced

        async def arrive() -> None:
            if self._group.members.get(self) != generation:
                raise Fenced
            self._log.commit(offsets)

        await self._log.call("commit", arrive)

    async def stop(self) -> None:
        self._stopped = True
        await self.release()
        if not self.machine.dead:
            self._group.leave(self)

    def _change(self, partitions: frozenset[int], *, joined: bool) -> None:
        self._assignment = Assignment(self._assignment.epoch + 1, partitions, joined)
        self._places = {}
        self.wake()

    async def _wait(self, seconds: float) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed

    def wake(self) -> None:
        """Something may have come."""
        if self._changed and not self._changed.done():
            self._changed.set_result(None)

    def _ready(self, most: int) -> list[Record]:
        """Some of what is there, another partition first each time."""
        places = sorted(self._places.items())
        self._turn += 1
        places = places[self._turn % len(places) :] + places[: self._turn % len(places)] if places else []
        found: list[Record] = []
        most = self._chance.randint(1, most)
        for partition, place in places:
            found += self._log.topics[TOPIC][partition][place : place + most - len(found)]
        return found
