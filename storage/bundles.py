"""The raw records behind the pending effects of one batch, packed into one row.

A row for each record would cost the worker as much as all its other writing. A record that is needed for long
moves to a row of its own (storage.payloads), so that it does not keep those around it.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping

import cramjam
import msgspec

from storage.database import Transaction
from storage.payloads import Payload
from storage.rows import Rows
from storage.schema import State

MOST_BYTES = 4 * 1024 * 1024
"""Of records in one bundle, unless one record alone has more: all of it is read to read one of them."""

RecordKey = tuple[int, str, int]
"""Tenant, redemption id, kind."""
Packed = tuple[int, str, int, str, int, int, int, bytes | None, bytes, list[tuple[str, bytes]]]


def bundles_of(events: Iterable[tuple[RecordKey, int]]) -> list[list[RecordKey]]:
    """Which events (with the size of their records, bytes) share a bundle."""
    bundles: list[list[RecordKey]] = []
    room = 0
    for event, size in events:
        if not bundles or size > room:
            bundles.append([])
            room = MOST_BYTES
        bundles[-1].append(event)
        room -= size
    return bundles


def pack(payloads: Mapping[RecordKey, Payload]) -> bytes:
    packed = [(*event, *payload[:6], list(payload.headers)) for event, payload in payloads.items()]
    return bytes(cramjam.lz4.compress_block(msgspec.msgpack.encode(packed)))


def unpack(records: bytes, wanted: Collection[RecordKey] | None = None) -> dict[RecordKey, Payload]:
    """The records of these events; None: all."""
    packed = msgspec.msgpack.decode(bytes(cramjam.lz4.decompress_block(records)), type=list[Packed])
    return {
        one[:3]: Payload(*one[3:9], tuple(one[9])) for one in packed if wanted is None or one[:3] in wanted
    }


async def store_bundle(transaction: Transaction, bundle: str, records: bytes, effects: int) -> None:
    """Keep packed records, which `effects` new effects need."""
    await transaction.run_each(
        "INSERT INTO bundles (id, effects, records) VALUES (:id, :effects, :records)",
        [{"id": bundle, "effects": effects, "records": records}],
    )


async def load_bundles(
    transaction: Transaction, wanted: Mapping[str, Collection[RecordKey]]
) -> dict[RecordKey, Payload]:
    """The records of the events wanted of each bundle."""
    rows = await transaction.run(
        "SELECT b.id, b.records FROM {rows} JOIN bundles b ON b.id = r.id",
        Rows({"id": "text"}, [(bundle,) for bundle in sorted(wanted)]),
    )
    found: dict[RecordKey, Payload] = {}
    for row in rows:
        found |= unpack(row.records, set(wanted[row.id]))
    return found


async def release_bundles(transaction: Transaction, counts: Mapping[str, int]) -> None:
    """So many effects need each bundle no longer."""
    if not counts:
        return
    rows = await transaction.run(
        "UPDATE bundles SET effects = bundles.effects - r.settled FROM {rows} WHERE bundles.id = r.id "
        "RETURNING bundles.id, bundles.effects",
        Rows({"id": "text", "settled": "integer"}, sorted(counts.items())),
    )
    await drop_bundles(transaction, [row.id for row in rows if row.effects <= 0])


async def each_bundle(snapshot: Transaction) -> AsyncIterator[tuple[str, dict[RecordKey, Payload]]]:
    """Every bundle with its records, one at a time."""
    for row in await snapshot.run("SELECT id FROM bundles ORDER BY id"):
        for found in await snapshot.run("SELECT records FROM bundles WHERE id = :id", id=row.id):
            yield row.id, unpack(found.records)


async def forget_records(transaction: Transaction, events: Mapping[str, Collection[RecordKey]]) -> None:
    """Take the records of these events out of the bundles that they are given by."""
    for bundle in sorted(events):
        for row in await transaction.run("SELECT records FROM bundles WHERE id = :id {lock}", id=bundle):
            unwanted = set(events[bundle])
            kept = {event: one for event, one in unpack(row.records).items() if event not in unwanted}
            await transaction.run_each(
                "UPDATE bundles SET records = :records WHERE id = :id",
                [{"id": bundle, "records": pack(kept)}],
            )


async def unneeded_bundles(snapshot: Transaction) -> dict[str, int]:
    """Bundles without a pending effect, with the number of their records."""
    rows = await snapshot.run(
        "SELECT id, records FROM bundles WHERE id NOT IN (SELECT bundle FROM effects "
        f"WHERE state = {State.PENDING} AND bundle IS NOT NULL) ORDER BY id"
    )
    return {row.id: len(unpack(row.records)) for row in rows}


async def drop_bundles(transaction: Transaction, bundles: Collection[str]) -> None:
    await transaction.run_each("DELETE FROM bundles WHERE id = :id", [{"id": id} for id in sorted(bundles)])
