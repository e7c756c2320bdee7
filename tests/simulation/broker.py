"""The log of a simulated world, and all that a network does to a call."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from broker.protocols import Record
from events.failures import Unavailable
from tests.consumer.scripted import ScriptedLog
from tests.simulation.loop import CURRENT, WORLD, Machine, SimulatedLoop, pause

SLOW_SECONDS = 0.05
SLOW_SHARE = 0.3
LATE_SECONDS = 2.5


class BrokerIlls(NamedTuple):
    """How often, per call."""

    refused: float = 0.0
    lost: float = 0.0
    """It took effect, and nobody was told."""
    late: float = 0.0
    """It takes effect seconds later."""


class SimulatedLog(ScriptedLog):
    """Owns the records and the group's offsets; each call may be refused, late, or done without an answer."""

    def __init__(self, chance: Random, partitions: int) -> None:
        super().__init__(partitions)
        self.topics = defaultdict(lambda: {p: [] for p in range(self.partitions)})
        self._chance = chance
        self.ills = BrokerIlls()
        self.cut: set[Machine] = set()
        """Machines that do not reach it."""
        self.on_commit: Callable[[Mapping[int, int]], None] = lambda offsets: None
        self.on_append: Callable[[Record], None] = lambda record: None
        self.counted = Counter[str]()
        self.trace: Callable[..., None] = lambda *told: None

    async def append(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (("tenant", b"default"),),
        partition: int | None = None,
        timestamp: int = 1_700_000_000_000,
    ) -> tuple[int, int]:
        async def land() -> tuple[int, int]:
            place, offset = await ScriptedLog.append(
                self, topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
            )
            self.on_append(self.topics[topic][place][offset])
            return place, offset

        landed: tuple[int, int] = await self.call("append", land)
        return landed

    async def call(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """What `work` comes to, with the network's troubles. Once sent it happens, whoever sent it."""
        machine = CURRENT.get()
        await pause(self._chance, SLOW_SECONDS, SLOW_SHARE)
        if self.down or machine in self.cut or self._happens(self.ills.refused, f"{name} refused"):
            raise Unavailable("log_unavailable", "the log does not answer")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        late = self._happens(self.ills.late, f"{name} late")

        async def arrive() -> Any:
            if late:
                await asyncio.sleep(self._chance.random() * LATE_SECONDS)
            return await work()

        arrival = loop.begin(WORLD, arrive(), f"{name} of {machine}")
        arrival.add_done_callback(lambda done: done.cancelled() or done.exception())  # who asked may be gone
        answer = await asyncio.shield(arrival)
        await pause(self._chance, SLOW_SECONDS, SLOW_SHARE)
        if self._happens(self.ills.lost, f"answer to {name} lost"):
            raise Unavailable("log_unavailable", "the log did not answer in time")
        return answer

    def grow(self) -> None:
        """One more partition."""
        self.starts[self.partitions] = 0
        for topic in self.topics.values():
            topic[self.partitions] = []
        self.partitions += 1

    def commit(self, offsets: Mapping[int, int]) -> None:
        self.committed.update(offsets)
        self.on_commit(offsets)

    def _happens(self, share: float, what: str) -> bool:
        happens = bool(share) and self._chance.random() < share
        if happens:
            self.counted[what] += 1
            self.trace(what, CURRENT.get())
        return happens
