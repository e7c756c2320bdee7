"""The machine under the code: its clock is the loop's, its chance and its names come from the seed."""

from collections.abc import Callable
from random import Random
from typing import TypeVar

from tests.simulation.loop import SimulatedLoop, pause

T = TypeVar("T")
EPOCH = 1_800_000_000.0


class SimulatedRuntime:
    """The machine under the product."""

    def __init__(self, loop: SimulatedLoop, chance: Random, skew: float = 0.0) -> None:
        self._loop = loop
        self._chance = chance
        self.skew = skew
        """Seconds by which this machine's wall clock is wrong, which must not matter."""

    def now(self) -> float:
        return EPOCH + self._loop.time() + self.skew

    def monotonic(self) -> float:
        return self._loop.time()

    def random(self) -> float:
        return self._chance.random()

    def token(self) -> str:
        return f"{self._chance.getrandbits(64):016x}"

    async def in_thread(self, work: Callable[[], T]) -> T:
        await pause(self._chance, 0.01)
        return work()
