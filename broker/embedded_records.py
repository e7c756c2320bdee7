"""Owns the statements on log.db: topics, records, groups and their offsets, retention."""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from broker.protocols import Bounds, Headers, Record

FETCH_BYTES = 16 * 1024 * 1024
TRIM_ROWS = 1000
OFFSET_BITS = 40

_headers = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])


class Slot(NamedTuple):
    """One partition as stored."""

    slot: int
    partition: int
    start: int
    next: int

    @property
    def first_id(self) -> int:
        return self.slot << OFFSET_BITS


class OutOfRange(Exception):
    """A partition does not hold the offset it was placed at."""

    def __init__(self, partition: int, offset: int) -> None:
        super().__init__(f"partition {partition} does not hold offset {offset}")
        self.partition = partition


def create_topic(connection: sqlite3.Connection, topic: str, partitions: int) -> None:
    """A topic that is there keeps its own number of partitions."""
    if not slots(connection, topic):
        rows = [(topic, partition) for partition in range(partitions)]
        connection.executemany("INSERT INTO partitions (topic, partition) VALUES (?, ?)", rows)


def slots(connection: sqlite3.Connection, topic: str) -> list[Slot]:
    rows = connection.execute(
        "SELECT slot, partition, start, next FROM partitions WHERE topic = ? ORDER BY partition", (topic,)
    )
    return [Slot(*row) for row in rows]


def partition_of(key: bytes, partitions: int) -> int:
    """Equal keys share a partition, in every process and release."""
    return zlib.crc32(key) % partitions


def append(
    connection: sqlite3.Connection,
    slot: int,
    timestamp: int,
    key: bytes | None,
    value: bytes,
    headers: Headers,
) -> int:
    """Returns the offset."""
    (offset,) = connection.execute(
        "UPDATE partitions SET next = next + 1 WHERE slot = ? RETURNING next - 1", (slot,)
    ).fetchone()
    packed = msgspec.msgpack.encode(tuple(headers))
    connection.execute(
        "INSERT INTO records (id, timestamp, key, value, headers) VALUES (?, ?, ?, ?, ?)",
        ((slot << OFFSET_BITS) + offset, timestamp, key, value, packed),
    )
    return int(offset)


def read(
    connection: sqlite3.Connection, topic: str, places: Iterable[tuple[int, int]], max_records: int
) -> list[Record]:
    """Records from each (partition, offset) on, in this order of partitions. Raises OutOfRange."""
    records: list[Record] = []
    room = FETCH_BYTES
    known = {slot.partition: slot for slot in slots(connection, topic)}
    for partition, offset in places:
        slot = known[partition]
        if not slot.start <= offset <= slot.next:
            raise OutOfRange(partition, offset)
        if room > 0 and len(records) < max_records and offset < slot.next:
            got = _read_partition(connection, topic, slot, offset, max_records - len(records), room)
            room -= sum(len(record.value) for record in got)
            records += got
    return records


def _read_partition(
    connection: sqlite3.Connection, topic: str, slot: Slot, offset: int, max_records: int, room: int
) -> list[Record]:
    records: list[Record] = []
    rows = connection.execute(
        "SELECT id, timestamp, key, value, headers FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (slot.first_id + offset, slot.first_id + slot.next, max_records),
    )
    for row, timestamp, key, value, headers in rows:
        at = row - slot.first_id
        if at != offset + len(records):
            break  # trimmed since we looked: the next read finds the place out of range and says so
        records.append(Record(topic, slot.partition, at, timestamp, key, value, _headers.decode(headers)))
        room -= len(value)
        if room <= 0:
            break
    rows.close()
    return records


def bounds(connection: sqlite3.Connection, topic: str) -> dict[int, Bounds]:
    return {slot.partition: Bounds(slot.start, slot.next) for slot in slots(connection, topic)}


def join(connection: sqlite3.Connection, group: str, topic: str) -> None:
    """Make the group known: from now on retention waits for what it commits."""
    connection.execute("INSERT OR IGNORE INTO members (name, topic) VALUES (?, ?)", (group, topic))


def groups(connection: sqlite3.Connection, topic: str) -> list[str]:
    rows = connection.execute("SELECT name FROM members WHERE topic = ? ORDER BY name", (topic,))
    return [name for (name,) in rows]


def commit(connection: sqlite3.Connection, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    known = {slot.partition: slot.slot for slot in slots(connection, topic)}
    connection.executemany(
        "INSERT INTO offsets (name, slot, offset) VALUES (?, ?, ?)"
        " ON CONFLICT (name, slot) DO UPDATE SET offset = excluded.offset",
        [(group, known[partition], offset) for partition, offset in offsets.items()],
    )


def committed(connection: sqlite3.Connection, group: str, topic: str) -> dict[int, int]:
    rows = connection.execute(
        "SELECT partition, offset FROM offsets JOIN partitions USING (slot) WHERE name = ? AND topic = ?",
        (group, topic),
    )
    return dict(rows.fetchall())


def trim(connection: sqlite3.Connection, topic: str, before: int, *, for_readers: bool) -> int:
    """Delete up to 1000 records a partition that are older than `before` (ms) and read by every known group.

    `for_readers`: as long as no group is known nothing goes. Returns how many went, so that the caller can go
    on in another short transaction.
    """
    readers: Sequence[Mapping[int, int]] = [
        committed(connection, group, topic) for group in groups(connection, topic)
    ]
    if for_readers and not readers:
        return 0
    gone = 0
    for slot in slots(connection, topic):
        end = min([slot.next, *(reader.get(slot.partition, 0) for reader in readers)])
        end = min(end, slot.start + TRIM_ROWS)
        # Up to the first one too young, not by age alone: a clock that was set back must leave no hole.
        (young,) = connection.execute(
            "SELECT min(id) FROM records WHERE id >= ? AND id < ? AND timestamp >= ?",
            (slot.first_id + slot.start, slot.first_id + end, before),
        ).fetchone()
        end = end if young is None else young - slot.first_id
        if end > slot.start:
            connection.execute(
                "DELETE FROM records WHERE id < ? AND id >= ?", (slot.first_id + end, slot.first_id)
            )
            connection.execute("UPDATE partitions SET start = ? WHERE slot = ?", (end, slot.slot))
            gone += end - slot.start
    return gone


def offsets_at(connection: sqlite3.Connection, topic: str, ms: int) -> dict[int, int]:
    """The first offset of each partition with this timestamp or a later one, else its end."""
    return {slot.partition: _offset_at(connection, slot, ms) for slot in slots(connection, topic)}


def _offset_at(connection: sqlite3.Connection, slot: Slot, ms: int) -> int:
    # By reading along, not by halving: a clock that was set back must hide nothing.
    found = connection.execute(
        "SELECT id FROM records WHERE id >= ? AND id < ? AND timestamp >= ? ORDER BY id LIMIT 1",
        (slot.first_id + slot.start, slot.first_id + slot.next, ms),
    ).fetchone()
    return slot.next if found is None else int(found[0]) - slot.first_id


def read_on(
    connection: sqlite3.Connection, topic: str, partition: int, offset: int, max_records: int
) -> list[Record]:
    """Records of one partition from `offset` on, or from its start if that is later."""
    slot = slots(connection, topic)[partition]
    return _read_partition(connection, topic, slot, max(offset, slot.start), max_records, FETCH_BYTES)
