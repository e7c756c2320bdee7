"""The log's contract: what every Producer, Consumer and LogAdmin promises, whatever stands behind it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]


class Record(NamedTuple):
    """One record as the log holds it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970, the log's."""
    key: bytes | None
    value: bytes
    """Empty for a record without a value (a tombstone)."""
    headers: Headers

    @property
    def next_offset(self) -> int:
        """The offset to commit once this record is settled: where reading resumes."""
        return self.offset + 1


class TooLarge(Exception):
    """The log takes no record of this size. Trying again cannot help."""


class Fenced(Exception):
    """The assignment that a commit belongs to has passed: the partitions are somebody else's now."""


class Producer(Protocol):
    """Appends records. All methods raise Unavailable when the log does not answer."""

    async def start(self) -> None: ...

    async def append(
        self, topic: str, value: bytes, *, key: bytes | None, headers: Headers
    ) -> tuple[int, int]:
        """Returns (partition, offset) only once the record is durable (Kafka: all in-sync replicas).

        Equal keys go to one partition. Raises TooLarge, or Unavailable: then the record may still land,
        which the reader's dedup covers. Cancelling the caller never breaks the producer.
        """

    async def stop(self) -> None:
        """Flush what was accepted, then close."""


class Assignment(NamedTuple):
    """The partitions held since the last rebalance. A new epoch makes all work under the old one void."""

    epoch: int
    partitions: frozenset[int]
    joined: bool = True
    """False until the group has decided, were it for no partition at all."""


class Bounds(NamedTuple):
    """What a partition holds: offsets in [start, end)."""

    start: int
    end: int


class Consumer(Protocol):
    """One member of a consumer group that reads one topic. Raises Unavailable when the log does not answer.

    A partition delivers nothing until `seek` placed it in the current epoch: where to start is the
    worker's decision (the smaller of the database's position and the committed offset).
    """

    async def start(self, on_revoked: Callable[[], Awaitable[None]]) -> None:
        """Join. `on_revoked` is awaited before partitions are given up, while commits still work; it must be
        bounded in time, must not raise, and must never await the task that fetches."""

    def assignment(self) -> Assignment:
        """The current assignment; empty while joining, standing by, or after being thrown out."""

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """The group's committed offsets (next to read); None where the group never committed."""

    async def bounds(self, partitions: Iterable[int]) -> dict[int, Bounds]: ...

    def seek(self, partition: int, offset: int) -> None:
        """Place a held partition: the next fetch reads from `offset`."""

    async def fetch(
        self,
        max_records: int,
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, list[Record]]:
        """(epoch, records) in order within each partition, contiguous from its place.

        Empty after `timeout` seconds, or as soon as the assignment changes. Only of partitions placed in that
        epoch, fair between them. Never returns records of an assignment that passed while waiting. Raises
        Unavailable on a fetch error, leaving the places as they were; Misconfigured when waiting cannot help:
        refused, replaced by another process, or asked for an offset that the partition does not hold (the
        partition is then not placed any more, so that the others go on).
        """

    async def commit(self, epoch: int, offsets: Mapping[int, int]) -> None:
        """Commit next offsets for the group. Raises Fenced when `epoch` has passed, or Unavailable."""

    async def stop(self) -> None:
        """Leave the group (static members do not) after on_revoked has run."""


class LogAdmin(Protocol):
    """What operators ask of the log."""

    async def ping(self) -> None:
        """Raise Unavailable when the log does not answer or lacks the events topic, Misconfigured when it
        refuses us."""

    async def ensure_topics(self) -> list[str]:
        """Create what is missing and set limits to match the settings; returns what was done, a line each."""

    async def check_topics(self) -> list[str]:
        """What is wrong (a topic missing, a limit or retention too small), a line each; [] is fine."""

    async def lag(self, groups: Iterable[str] | None = None) -> dict[str, int]:
        """Records of the events topic not yet committed, by group; None: all known groups.

        A group that has committed nothing in a partition lags by everything the partition holds.
        """

    async def close(self) -> None: ...


class History(Protocol):
    """Reads what the events topic holds, outside any group: nobody's offsets or partitions change.

    All methods raise Unavailable when the log does not answer, Misconfigured when it refuses us.
    """

    async def start(self) -> None: ...

    async def bounds(self) -> dict[int, Bounds]:
        """What every partition holds."""

    async def offsets_at(self, ms: int) -> dict[int, int]:
        """By partition the offset of the first record with this timestamp or a later one; the partition's end
        where there is none."""

    async def read(self, partition: int, offset: int, max_records: int) -> list[Record]:
        """Some of the records from `offset` on, in order; [] at the end. What retention has deleted meanwhile
        is left out: the first record may be a later one."""

    async def stop(self) -> None: ...
