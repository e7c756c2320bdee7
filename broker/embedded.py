"""Owns the log without a server, as its producer and its consumer see it."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote

from broker import embedded_records as records
from broker.embedded_log import EmbeddedLog
from broker.protocols import Assignment, Bounds, Fenced, Headers, Record, TooLarge
from events.failures import Failure, Misconfigured, Unavailable

STAND_BY_SECONDS = 0.1


class EmbeddedProducer:
    """A `Producer` on the embedded log."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._slots: dict[str, list[records.Slot]] = {}

    async def start(self) -> None:
        await self._log.open()
        try:
            for topic in self._log.topics.names:
                self._slots[topic] = await self._log.read(partial(records.slots, topic=topic))
        except Failure:
            await self._log.close()
            raise

    async def append(
        self, topic: str, value: bytes, *, key: bytes | None, headers: Headers
    ) -> tuple[int, int]:
        size = len(value) + len(key or b"") + sum(len(name) + len(text) for name, text in headers)
        if size > self._log.topics.record_limit:
            raise TooLarge(f"The log takes no record of {size} bytes")
        slots = self._slots.get(topic)
        if not slots:
            raise Unavailable("topic_missing", f"Topic {topic} does not exist")
        runtime = self._log.runtime
        chosen = int(runtime.random() * len(slots)) if key is None else records.partition_of(key, len(slots))
        slot, timestamp = slots[chosen].slot, int(runtime.now() * 1000)
        work = partial(
            records.append, slot=slot, timestamp=timestamp, key=key, value=value, headers=tuple(headers)
        )
        try:
            return chosen, await self._log.write(work)
        except Misconfigured as failure:
            # Whatever is wrong with the file, the sender is to come again.
            raise Unavailable(failure.reason, str(failure)) from failure

    async def stop(self) -> None:
        if self._slots:
            self._slots = {}
            await self._log.close()


class EmbeddedConsumer:
    """A `Consumer` on the embedded log: the one that holds the group's lock file reads all partitions."""

    def __init__(self, log: EmbeddedLog, group: str) -> None:
        self._log = log
        self._topic = log.topics.events
        self._group = group
        self._assignment = Assignment(0, frozenset(), joined=False)
        self._places: dict[int, int] = {}  # next offset to hand out, of the partitions placed in this epoch
        self._turn = 0
        self._news = asyncio.Event()
        self._lock = GroupLock(log.path, group)
        self._standing_by: asyncio.Task[None] | None = None
        self._started = False
        self._stopped = False

    async def start(self, on_revoked: Callable[[], Awaitable[None]]) -> None:
        self._on_revoked = on_revoked
        await self._log.open()
        try:
            await self._log.write(partial(records.join, group=self._group, topic=self._topic))
            self._lock.open()
            if not await self._take_over():
                self._assign(frozenset())
                self._standing_by = asyncio.create_task(self._stand_by(), name="stand by for the group")
        except Failure:
            self._lock.close()
            await self._log.close()
            raise
        self._log.appended.add(self._news)
        self._started = True

    def assignment(self) -> Assignment:
        return self._assignment

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        offsets = await self._log.read(partial(records.committed, group=self._group, topic=self._topic))
        return {partition: offsets.get(partition) for partition in partitions}

    async def bounds(self, partitions: Iterable[int]) -> dict[int, Bounds]:
        held = await self._log.read(partial(records.bounds, topic=self._topic))
        return {partition: held[partition] for partition in partitions}

    def seek(self, partition: int, offset: int) -> None:
        """Does nothing for a partition that is not held (any more)."""
        if partition in self._assignment.partitions:
            self._places[partition] = offset
            self._news.set()

    async def fetch(
        self,
        max_records: int,
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, list[Record]]:
        epoch = self._assignment.epoch
        if self._stopped:
            await asyncio.sleep(timeout)  # a caller that has not noticed must not spin
            return epoch, []
        deadline = self._log.runtime.monotonic() + timeout
        while True:
            self._news.clear()
            found = await self._read(max_records)
            left = deadline - self._log.runtime.monotonic()
            if found or left <= 0 or epoch != self._assignment.epoch or self._stopped:
                return epoch, found
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)

    async def commit(self, epoch: int, offsets: Mapping[int, int]) -> None:
        held = self._assignment
        if epoch != held.epoch or not held.partitions.issuperset(offsets):
            raise Fenced(f"The assignment {epoch} has passed")
        await self._log.write(
            partial(records.commit, group=self._group, topic=self._topic, offsets=dict(offsets))
        )

    async def stop(self) -> None:
        if self._stopped or not self._started:
            return
        self._stopped = True
        self._news.set()
        if self._standing_by:
            self._standing_by.cancel()
            await asyncio.wait({self._standing_by})
        try:
            if self._assignment.partitions:
                await self._on_revoked()
        finally:
            self._assign(frozenset(), joined=False)
            with contextlib.suppress(Failure):
                # Commits still under way must land before another process begins.
                await self._log.write(lambda _: None)
            self._lock.close()
            self._log.appended.discard(self._news)
            await self._log.close()

    async def _read(self, max_records: int) -> list[Record]:
        places, epoch = self._in_turn(), self._assignment.epoch
        if not places:
            return []
        try:
            found = await self._log.read(
                partial(records.read, topic=self._topic, places=places, max_records=max_records)
            )
        except records.OutOfRange as error:
            self._places.pop(error.partition, None)
            raise Misconfigured(
                "offset_out_of_range",
                f"{self._topic} {error}: the log was emptied or replaced, or the database is ahead of it",
            ) from error
        # Placed elsewhere while we read, or given up: then these are not the records asked for.
        moved = {partition for partition, offset in places if self._places.get(partition) != offset}
        if epoch != self._assignment.epoch:
            return []
        found = [record for record in found if record.partition not in moved]
        self._places |= {record.partition: record.next_offset for record in found}
        return found

    def _in_turn(self) -> list[tuple[int, int]]:
        """The places, beginning with another partition each time: a full one starves no other."""
        places = sorted(self._places.items())
        if places:
            self._turn = (self._turn + 1) % len(places)
        return places[self._turn :] + places[: self._turn]

    async def _take_over(self) -> bool:
        if not self._lock.take():
            return False
        held = await self._log.read(partial(records.bounds, topic=self._topic))
        self._assign(frozenset(held))
        return True

    async def _stand_by(self) -> None:
        while True:
            await asyncio.sleep(STAND_BY_SECONDS)
            with contextlib.suppress(Unavailable):
                if await self._take_over():
                    return

    def _assign(self, partitions: frozenset[int], *, joined: bool = True) -> None:
        self._assignment = Assignment(self._assignment.epoch + 1, partitions, joined)
        self._places = {}
        self._news.set()


class GroupLock:
    """The file whose lock makes a process the group's consumer; the system frees it when the process dies."""

    def __init__(self, log: Path, group: str) -> None:
        self._path = log.with_name(f"{log.name}.{quote(group, safe='')}.lock")
        self._file: int | None = None

    def open(self) -> None:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Misconfigured("log_unusable", f"Cannot write {self._path}: {error}") from error

    def take(self) -> bool:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
