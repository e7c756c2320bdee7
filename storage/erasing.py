"""Erasing a customer's personal data: the tombstone first, then what is kept of them, in short transactions.

The rows of effects and letters stay, with ids, codes and times: by these marks nothing is done twice.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row

from events.event import Kind
from events.keys import customers_of
from storage.bundles import RecordKey, each_bundle, forget_records, release_bundles
from storage.database import Database, Transaction
from storage.effects import Mark, end_effects
from storage.erasures import Customer, put_tombstone
from storage.payloads import Payload, pack_headers, unpack_headers
from storage.rows import Rows
from storage.schema import KIND_NUMBERS, LETTER_KIND, LetterState, State
from storage.stretches import stretches

ERASED = "erased"
"""In place of an error's sentence."""
LETTERS_AT_ONCE = 200


class Found(NamedTuple):
    """A record that pending effects need, of the customer looked for."""

    event: RecordKey
    payload: Payload
    bundle: str | None
    """Holds the record; None: it has a row of its own."""


async def erase(database: Database, customer: Customer, letter_topic: str, counts: dict[str, int]) -> int:
    """Erase everything from before now; returns that moment. `letter_topic`: the handler of letters' effects.

    `counts` tells, also when it is interrupted, how many records, effects and letters are done. Doing it
    again finishes it, and moves the moment.
    """
    counts |= {"records": 0, "effects": 0, "letters": 0}
    async with database.transaction() as transaction:
        moment = await put_tombstone(transaction, customer)
    # Records before letters: a try that fails for good in this very moment turns the one into the other.
    async with database.snapshot() as snapshot:
        found = [(each.event, each.bundle) async for each in pending_records(snapshot, customer)]
    for start in range(0, len(found), LETTERS_AT_ONCE):
        async with database.transaction() as transaction:
            effects, records = await _drop_pending(transaction, found[start : start + LETTERS_AT_ONCE])
        counts["effects"] += effects
        counts["records"] += records
    after = ""
    while True:
        async with database.transaction() as transaction:
            letters = await _letters_after(transaction, customer, after)
            await _wipe(transaction, letters, letter_topic)
        if not letters:
            return moment
        counts["letters"] += len(letters)
        after = letters[-1].id


async def pending_records(snapshot: Transaction, customer: Customer) -> AsyncIterator[Found]:
    """One pass over all that pending effects need: only their bodies tell whose they are."""
    tenant, id = customer
    number = snapshot.names.find(tenant)
    if number is None:
        return
    is_postgresql = snapshot.dialect == "postgresql"
    inside = "position(CAST(:id AS bytea) IN value)" if is_postgresql else "instr(value, :id)"
    async for after, upto in stretches(snapshot, "payloads", "tenant = :tenant", tenant=number):
        rows = await snapshot.run(
            'SELECT redemption_id, kind, topic, partition, "offset", timestamp, key, value, headers '
            "FROM payloads WHERE tenant = :tenant AND redemption_id > :after AND redemption_id <= :upto "
            f"AND (key = :id OR {inside} > 0) ORDER BY redemption_id, kind",
            tenant=number,
            after=after,
            upto=upto,
            id=id.encode(),
        )
        for row in rows:
            if row.key == id.encode() or id in customers_of(row.value):
                event = number, row.redemption_id, row.kind
                place = row.topic, row.partition, row.offset, row.timestamp
                yield Found(event, Payload(*place, row.key, row.value, unpack_headers(row.headers)), None)
    async for bundle, records in each_bundle(snapshot):
        for event, payload in records.items():
            if event[0] == number and (
                payload.key == id.encode()
                or (id.encode() in payload.value and id in customers_of(payload.value))
            ):
                yield Found(event, payload, bundle)


async def _drop_pending(
    transaction: Transaction, found: Sequence[tuple[RecordKey, str | None]]
) -> tuple[int, int]:
    """Effects discarded, and records deleted."""
    columns = {"tenant": "smallint", "redemption_id": "text", "kind": "smallint"}
    same = "e.tenant = r.tenant AND e.redemption_id = r.redemption_id AND e.kind = r.kind"
    events = sorted({event for event, _ in found})
    pending = await transaction.run(
        "SELECT e.tenant, e.redemption_id, e.handler, e.kind FROM {rows} CROSS JOIN effects e "
        f"WHERE {same} AND e.state = {State.PENDING}",
        Rows(columns, events),
    )
    ended = await end_effects(transaction, {Mark._make(row): State.PENDING for row in pending}, ERASED)
    await transaction.run_each(
        "DELETE FROM payloads WHERE tenant = :tenant AND redemption_id = :redemption_id AND kind = :kind",
        [dict(zip(columns, event, strict=True)) for event in events],
    )
    bundled: dict[str, list[RecordKey]] = {}
    for event, bundle in found:
        if bundle is not None:
            bundled.setdefault(bundle, []).append(event)
    await forget_records(transaction, bundled)
    await release_bundles(transaction, Counter(bundle for bundle in ended if bundle is not None))
    return len(ended), len(found)


async def _letters_after(transaction: Transaction, customer: Customer, after: str) -> Sequence[Row[Any]]:
    return await transaction.run(
        "SELECT id, tenant, redemption_id, kind, handler, replays FROM dead_letters "
        "WHERE customer_id = :customer AND tenant = :tenant AND id > :after ORDER BY id LIMIT :limit",
        customer=customer[1],
        tenant=customer[0],
        after=after,
        limit=LETTERS_AT_ONCE,
    )


async def _wipe(transaction: Transaction, letters: Sequence[Row[Any]], letter_topic: str) -> None:
    """Effects before letters, as workers lock them."""
    marks = dict.fromkeys(_dead_effects(transaction, letters), State.DEAD)
    marks |= dict.fromkeys(_publications(transaction, letters, letter_topic), State.PENDING)
    await end_effects(transaction, marks, ERASED)
    await transaction.run_each(
        "UPDATE dead_letters SET key = NULL, value = :nothing, headers = :headers, error = :error, "
        "erased_at = {now}, "
        f"state = CASE WHEN state = {LetterState.OPEN} THEN {LetterState.DISCARDED} ELSE state END "
        "WHERE id = :id",
        [
            {"id": letter.id, "nothing": b"", "headers": pack_headers(()), "error": ERASED}
            for letter in letters
        ],
    )
    await transaction.run_each(
        "UPDATE letter_history SET error = :error WHERE letter = :id AND error IS NOT NULL",
        [{"id": letter.id, "error": ERASED} for letter in letters],
    )


def _dead_effects(transaction: Transaction, letters: Sequence[Row[Any]]) -> Iterator[Mark]:
    for row in letters:
        if row.handler is None or row.redemption_id is None or row.kind is None:
            continue
        tenant, handler = transaction.names.find(row.tenant), transaction.names.find(row.handler)
        if tenant is not None and handler is not None:
            yield Mark(tenant, row.redemption_id, handler, KIND_NUMBERS[Kind(row.kind)])


def _publications(transaction: Transaction, letters: Sequence[Row[Any]], handler: str) -> Iterator[Mark]:
    """What is about to put these letters on the dead-letter topic."""
    number = transaction.names.find(handler)
    for row in letters:
        tenant = transaction.names.find(row.tenant)
        if number is not None and tenant is not None:
            yield Mark(tenant, row.id, number, LETTER_KIND)
