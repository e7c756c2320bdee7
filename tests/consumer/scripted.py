"""A consumer whose log, assignment and failures a test writes by hand, with the real one's manners."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from broker.protocols import Assignment, Bounds, Fenced, Record
from events.failures import Misconfigured, Unavailable

TOPIC = "redemptions.events"


class ScriptedLog:
    """Partitions of records in memory, and what their group committed. Also a Producer."""

    def __init__(self, partitions: int = 2) -> None:
        self.topics: dict[str, dict[int, list[Record]]] = defaultdict(
            lambda: {p: [] for p in range(partitions)}
        )
        self.committed: dict[int, int] = {}
        self.partitions = partitions
        self.starts = dict.fromkeys(range(partitions), 0)
        """What retention has left: records before are gone."""
        self.down = False
        self.arrived = asyncio.Event()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

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
        if self.down:
            raise Unavailable("log_unavailable", "the log is down")
        place = partition if partition is not None else sum(key or b"") % self.partitions
        records = self.topics[topic][place]
        records.append(Record(topic, place, len(records), timestamp, key, value, tuple(headers)))
        self.arrived.set()
        return place, len(records) - 1

    def end(self, partition: int) -> int:
        return len(self.topics[TOPIC][partition])

    @property
    def lag(self) -> int:
        return sum(self.end(p) - self.committed.get(p, 0) for p in range(self.partitions))


class ScriptedConsumer:
    """One member; the test says when a rebalance happens and which calls fail."""

    def __init__(self, log: ScriptedLog) -> None:
        self._log = log
        self._assignment = Assignment(0, frozenset(), joined=False)
        self._places: dict[int, int] = {}
        self._on_revoked: Callable[[], Awaitable[None]] | None = None
        self.fails: dict[str, Exception] = {}
        """By method name, what its next calls raise."""
        self.hides = False
        """Fetches find nothing, although there is something."""
        self.calls: list[str] = []
        self.started: dict[int, int] = {}
        self.fetching = 0

    async def start(self, on_revoked: Callable[[], Awaitable[None]]) -> None:
        self._on_revoked = on_revoked
        self.assign(range(self._log.partitions))

    def assign(self, partitions: Iterable[int]) -> None:
        self._assignment = Assignment(self._assignment.epoch + 1, frozenset(partitions))
        self._places = {}
        self._log.arrived.set()

    async def release(self) -> None:
        assert self._on_revoked is not None
        await self._on_revoked()

    async def rebalance(self, partitions: Iterable[int]) -> None:
        await self.release()
        self.assign(partitions)

    def assignment(self) -> Assignment:
        return self._assignment

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if error := self.fails.get(method):
            raise error

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        self._called("committed")
        return {p: self._log.committed.get(p) for p in partitions}

    async def bounds(self, partitions: Iterable[int]) -> dict[int, Bounds]:
        self._called("bounds")
        return {p: Bounds(self._log.starts[p], self._log.end(p)) for p in partitions}

    def seek(self, partition: int, offset: int) -> None:
        self._places[partition] = offset
        self.started[partition] = offset

    async def fetch(
        self,
        max_records: int,
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, list[Record]]:
        self._called("fetch")
        self.fetching += 1
        try:
            return await self._found(max_records, timeout)
        finally:
            self.fetching -= 1

    async def _found(self, max_records: int, seconds: float) -> tuple[int, list[Record]]:
        epoch = self._assignment.epoch
        records = self._ready(max_records)
        if not records:
            self._log.arrived.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._log.arrived.wait()
            except TimeoutError:
                return epoch, []
            records = self._ready(max_records) if epoch == self._assignment.epoch else []
        for record in records:
            self._places[record.partition] = record.next_offset
        return epoch, records

    def _ready(self, most: int) -> list[Record]:
        if self.hides:
            return []
        for partition, place in self._places.items():
            if not self._log.starts[partition] <= place <= self._log.end(partition):
                del self._places[partition]
                raise Misconfigured("offset_out_of_range", f"partition {partition} does not hold {place}")
        found = [
            record
            for partition, place in sorted(self._places.items())
            for record in self._log.topics[TOPIC][partition][place:]
        ]
        return found[:most]

    async def commit(self, epoch: int, offsets: Mapping[int, int]) -> None:
        self._called("commit")
        if epoch != self._assignment.epoch:
            raise Fenced
        self._log.committed.update(offsets)

    async def stop(self) -> None:
        if self._on_revoked is not None:
            await self._on_revoked()
        self.assign(())
