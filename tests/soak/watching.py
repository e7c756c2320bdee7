"""What is looked at beside the answers: the door's memory, and how late the judge itself is."""

import asyncio
import statistics

from bench.usage import Usage

WARM_UP = 0.2
"""Share of the run in which memory may still grow. Both deaths of the broker come after it."""


class Lag:
    """How late this process is by itself: an answer cannot be read earlier."""

    def __init__(self) -> None:
        self.most = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.05
            await asyncio.sleep(0.05)
            self.most = max(self.most, loop.time() - due)


class Memory:
    """Resident bytes of a process, looked at each second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looks: list[int] = []

    async def watch(self) -> None:
        while True:
            self._looks.append(Usage.of(self._pid).rss_bytes)
            await asyncio.sleep(1.0)

    @property
    def growth(self) -> float:
        first, last = self._ends()
        return last / first - 1

    def figures(self) -> list[float]:
        """At each tenth of the run."""
        places = [round((len(self._looks) - 1) * tenth / 10) for tenth in range(11)] if self._looks else []
        return [round(self._looks[place] / 2**20, 1) for place in places]

    def _ends(self) -> tuple[float, float]:
        warm = self._looks[int(len(self._looks) * WARM_UP) :]
        tenth = max(1, len(warm) // 10)
        return statistics.median(warm[:tenth]), statistics.median(warm[-tenth:])
