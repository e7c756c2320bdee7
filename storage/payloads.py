"""Raw records behind pending effects that are in no bundle: one per event, until the last has settled."""

import base64
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from storage.database import Transaction
from storage.effects import Mark
from storage.rows import Rows
from storage.schema import State

EVENT = {"tenant": "smallint", "redemption_id": "text", "kind": "smallint"}


class Payload(NamedTuple):
    """A raw record as it came out of the log."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def pack_headers(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Header names and values, byte for byte, in order, as JSON with base64 values."""
    return msgspec.json.encode([(name, base64.b64encode(value).decode()) for name, value in headers])


def unpack_headers(packed: bytes) -> tuple[tuple[str, bytes], ...]:
    pairs = msgspec.json.decode(packed, type=list[tuple[str, str]])
    return tuple((name, base64.b64decode(value)) for name, value in pairs)


async def store_payloads(transaction: Transaction, payloads: dict[tuple[int, str, int], Payload]) -> None:
    """Keep the record behind each event (tenant, redemption id, kind). One that is there stays, but is
    locked: whoever is about to delete it then sees the effect that needs it."""
    await transaction.run_each(
        'INSERT INTO payloads (tenant, redemption_id, kind, topic, partition, "offset", timestamp, key, '
        "value, headers) VALUES (:tenant, :redemption_id, :kind, :topic, :partition, :offset, :timestamp, "
        ":key, :value, :headers) "
        "ON CONFLICT (tenant, redemption_id, kind) DO UPDATE SET topic = payloads.topic",
        [
            dict(zip(EVENT, event, strict=True))
            | payload._asdict()
            | {"headers": pack_headers(payload.headers)}
            for event, payload in sorted(payloads.items())
        ],
    )


async def load_payloads(
    transaction: Transaction, marks: Sequence[Mark]
) -> dict[tuple[int, str, int], Payload]:
    events = sorted({(mark.tenant, mark.redemption_id, mark.kind) for mark in marks})
    rows = await transaction.run(
        f'SELECT r.tenant, r.redemption_id, r.kind, p.topic, p.partition, p."offset", p.timestamp, p.key, '
        f"p.value, p.headers FROM {{rows}} JOIN payloads p ON {SAME_EVENT}",
        Rows(EVENT, events),
    )
    return {
        (row.tenant, row.redemption_id, row.kind): Payload(
            row.topic,
            row.partition,
            row.offset,
            row.timestamp,
            row.key,
            row.value,
            unpack_headers(row.headers),
        )
        for row in rows
    }


async def drop_settled_payloads(transaction: Transaction, marks: Iterable[Mark]) -> int:
    """Delete the records that no pending effect needs any more; returns how many."""
    events = Rows(EVENT, sorted({(mark.tenant, mark.redemption_id, mark.kind) for mark in marks}))
    if not events:
        return 0
    # First the locks, then a new statement: an effect stored a moment ago must be seen.
    lock = "FOR UPDATE OF p" if transaction.dialect == "postgresql" else ""
    await transaction.run(
        f"SELECT 1 FROM payloads p JOIN {{rows}} ON {SAME_EVENT} "
        f"ORDER BY p.tenant, p.redemption_id, p.kind {lock}",
        events,
    )
    unneeded = await transaction.run(
        f"SELECT p.tenant, p.redemption_id, p.kind FROM {{rows}} JOIN payloads p ON {SAME_EVENT} "
        "WHERE NOT EXISTS (SELECT 1 FROM effects e WHERE e.tenant = p.tenant "
        f"AND e.redemption_id = p.redemption_id AND e.kind = p.kind AND e.state + 0 = {State.PENDING} "
        "AND e.bundle IS NULL)",
        events,
    )
    # Key by key: SQLite would search a set of keys by their first column alone.
    await transaction.run_each(
        "DELETE FROM payloads WHERE tenant = :tenant AND redemption_id = :redemption_id AND kind = :kind",
        [row._asdict() for row in unneeded],
    )
    return len(unneeded)


SAME_EVENT = "p.tenant = r.tenant AND p.redemption_id = r.redemption_id AND p.kind = r.kind"
