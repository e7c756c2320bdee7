"""Finding what is kept of one customer where no index tells: bodies alone say whose they are.

Bodies may write an id in escapes, so those that hold a backslash are read, whatever they seem to hold.
"""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

from events.keys import customers_of
from storage.bundles import RecordKey, each_bundle
from storage.database import Transaction
from storage.erasures import Customer
from storage.payloads import Payload, unpack_headers
from storage.row import Row
from storage.rows import Rows
from storage.stretches import stretches

MENTIONS = {
    "postgresql": (
        "position(CAST(:bytes AS bytea) IN value) > 0 OR position(CAST(:escape AS bytea) IN value) > 0"
    ),
    "sqlite": "instr(value, :bytes) > 0 OR instr(value, :escape) > 0",
}
KNOWN = (
    "EXISTS (SELECT 1 FROM facts f WHERE f.redemption_id = {table}.redemption_id "
    "AND f.tenant = CAST(:number AS smallint) AND f.customer_id = :customer)"
)
"""Redemptions that the ledger knows as this customer's: a payload may leave the customer out."""


class FoundRecord(NamedTuple):
    """A record that pending effects need."""

    event: RecordKey
    payload: Payload
    bundle: str | None
    """Holds the record; None: it has a row of its own."""


class FoundLetter(NamedTuple):
    row: Row
    """All columns of `dead_letters`, and `known`."""
    is_certain: bool
    """False: nobody can read the body, and the id stands somewhere in it."""


async def records_of(snapshot: Transaction, customer: Customer) -> AsyncIterator[FoundRecord]:
    tenant, id = customer
    number = snapshot.names.find(tenant)
    if number is None:
        return
    known = KNOWN.format(table="payloads")
    async for after, upto in stretches(snapshot, "payloads", "tenant = :tenant", tenant=number):
        rows = await snapshot.run(
            'SELECT redemption_id, kind, key, value, headers, topic, partition, "offset", timestamp, '
            f"{known} AS known FROM payloads WHERE tenant = CAST(:number AS smallint) "
            "AND redemption_id > :after AND redemption_id <= :upto "
            f"AND ({known} OR {MENTIONS[snapshot.dialect]}) ORDER BY redemption_id, kind",
            **_looked_for(id, number),
            after=after,
            upto=upto,
        )
        for row in rows:
            if row.known or id in (customers_of(row.value) or ()):
                place = row.topic, row.partition, row.offset, row.timestamp
                payload = Payload(*place, row.key, row.value, unpack_headers(row.headers))
                yield FoundRecord((number, row.redemption_id, row.kind), payload, None)
    async for bundle, records in each_bundle(snapshot):
        events = [event for event in records if event[0] == number]
        whose = await customers_known(snapshot, (event[:2] for event in events))
        for event in events:
            if whose.get(event[:2]) == id or _is_named(records[event].value, id):
                yield FoundRecord(event, records[event], bundle)


async def letters_of(snapshot: Transaction, customer: Customer) -> AsyncIterator[FoundLetter]:
    tenant, id = customer
    number = snapshot.names.find(tenant)
    known = KNOWN.format(table="dead_letters")
    async for after, upto in stretches(snapshot, "dead_letters", "tenant = :tenant", key="id", tenant=tenant):
        rows = await snapshot.run(
            f"SELECT dead_letters.*, {known} AS known FROM dead_letters WHERE tenant = :tenant "
            "AND id > :after AND id <= :upto AND (customer_id = :customer OR key = :bytes "
            f"OR {known} OR {MENTIONS[snapshot.dialect]}) ORDER BY id",
            **_looked_for(id, number),
            tenant=tenant,
            after=after,
            upto=upto,
        )
        for row in rows:
            is_certain = _is_of(row, id)
            if is_certain or _may_be_of(row.value, id):
                yield FoundLetter(row, is_certain)


async def customers_known(
    transaction: Transaction, redemptions: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], str]:
    """Whose redemptions (tenant, id) these are, as far as the ledger knows."""
    rows = await transaction.run(
        "SELECT f.tenant, f.redemption_id, f.customer_id FROM {rows} CROSS JOIN facts f "
        "WHERE f.redemption_id = r.redemption_id AND f.tenant = r.tenant AND f.customer_id IS NOT NULL",
        Rows({"tenant": "smallint", "redemption_id": "text"}, sorted(set(redemptions))),
    )
    return {(row.tenant, row.redemption_id): row.customer_id for row in rows}


def _looked_for(id: str, number: int | None) -> dict[str, Any]:
    return {"customer": id, "bytes": id.encode(), "escape": b"\\", "number": number}


def _is_named(body: bytes, id: str) -> bool:
    return (id.encode() in body or b"\\" in body) and id in (customers_of(body) or ())


def _is_of(letter: Row, id: str) -> bool:
    if letter.known or letter.customer_id == id:
        return True
    customers = customers_of(letter.value)
    # Of a body that names nobody the key is the id of an order or a redemption.
    return bool(letter.key == id.encode() if customers is None else id in customers)


def _may_be_of(body: bytes, id: str) -> bool:
    escaped = json.dumps(id)[1:-1].encode()
    return customers_of(body) is None and (id.encode() in body or escaped in body)
