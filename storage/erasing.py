"""Erasing a customer's personal data: the tombstone first, then what is kept of them, in short transactions.

The rows of effects and letters stay, with ids, codes and times: by these marks nothing is done twice.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from events.event import Kind
from storage.bundles import RecordKey, forget_records, release_bundles
from storage.customer_search import letters_of, records_of
from storage.database import Database, Transaction
from storage.effects import Mark, end_effects
from storage.erasures import Customer, put_tombstone
from storage.filters_naming import filters_naming, unname
from storage.notification_calls import forget_customer
from storage.payloads import pack_headers
from storage.row import Row
from storage.rows import Rows
from storage.schema import KIND_NUMBERS, LETTER_KIND, LetterState, State

ERASED = "erased"
"""In place of what people and errors said."""
AT_ONCE = 200
T = TypeVar("T")


class Erased(NamedTuple):
    at: int
    """Milliseconds: everything from before."""
    unclear: tuple[str, ...]
    """Dead letters that may be about the customer: nobody can read them, and the id stands in them."""


async def erase(database: Database, customer: Customer, letter_topic: str, counts: dict[str, int]) -> Erased:
    """Erase everything from before now. `letter_topic`: the handler of letters' effects.

    `counts` tells, also when it is interrupted, how much is done: records, effects, letters, calls (of
    notifications, which forget whom they were for), filters (of operators). Doing it again finishes it, and
    moves the moment.
    """
    counts |= dict.fromkeys(("records", "effects", "letters", "calls", "filters"), 0)
    async with database.transaction() as transaction:
        moment = await put_tombstone(transaction, customer)
    # Records before letters: a try that fails for good in this very moment turns the one into the other.
    await _erase_records(database, customer, counts)
    unclear = await _erase_letters(database, customer, letter_topic, counts)
    await _forget_calls(database, customer, counts)
    await _unname_filters(database, customer, counts)
    return Erased(moment, unclear)


async def _erase_records(database: Database, customer: Customer, counts: dict[str, int]) -> None:
    async with database.snapshot() as snapshot:
        found = [(record.event, record.bundle) async for record in records_of(snapshot, customer)]
    for some in _pieces(found):
        async with database.transaction() as transaction:
            effects, records = await _drop_pending(transaction, some)
        counts["effects"] += effects
        counts["records"] += records


async def _erase_letters(
    database: Database, customer: Customer, letter_topic: str, counts: dict[str, int]
) -> tuple[str, ...]:
    found: list[str] = []
    unclear: list[str] = []
    async with database.snapshot() as snapshot:
        async for letter in letters_of(snapshot, customer):
            (found if letter.is_certain else unclear).append(letter.row.id)
    for some in _pieces(found):
        async with database.transaction() as transaction:
            counts["letters"] += await _wipe(transaction, some, letter_topic)
    return tuple(unclear)


async def _forget_calls(database: Database, customer: Customer, counts: dict[str, int]) -> None:
    while True:
        async with database.transaction() as transaction:
            forgotten = await forget_customer(transaction, *customer, AT_ONCE)
        if not forgotten:
            return
        counts["calls"] += forgotten


async def _unname_filters(database: Database, customer: Customer, counts: dict[str, int]) -> None:
    async with database.snapshot() as snapshot:
        found = [each async for each in filters_naming(snapshot, customer)]
    for some in _pieces(found):
        async with database.transaction() as transaction:
            await unname(transaction, some, ERASED)
        counts["filters"] += len(some)


def _pieces(whole: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(whole)
    while piece := list(islice(rest, AT_ONCE)):
        yield piece


async def _drop_pending(
    transaction: Transaction, found: Sequence[tuple[RecordKey, str | None]]
) -> tuple[int, int]:
    """Effects discarded, and records deleted."""
    events = sorted({event for event, _ in found})
    columns = {"tenant": "smallint", "redemption_id": "text", "kind": "smallint"}
    same = "e.tenant = r.tenant AND e.redemption_id = r.redemption_id AND e.kind = r.kind"
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


async def _wipe(transaction: Transaction, ids: Sequence[str], letter_topic: str) -> int:
    """Effects before letters, as workers lock them."""
    letters = await transaction.run(
        "SELECT d.id, d.tenant, d.redemption_id, d.kind, d.handler FROM {rows} "
        "JOIN dead_letters d ON d.id = r.id ORDER BY d.id",
        Rows({"id": "text"}, [(id,) for id in ids]),
    )
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
    return len(letters)


def _dead_effects(transaction: Transaction, letters: Sequence[Row]) -> Iterator[Mark]:
    for row in letters:
        if row.handler is None or row.redemption_id is None or row.kind is None:
            continue
        tenant, handler = transaction.names.find(row.tenant), transaction.names.find(row.handler)
        if tenant is not None and handler is not None:
            yield Mark(tenant, row.redemption_id, handler, KIND_NUMBERS[Kind(row.kind)])


def _publications(transaction: Transaction, letters: Sequence[Row], handler: str) -> Iterator[Mark]:
    """What is about to put these letters on the dead-letter topic."""
    number = transaction.names.find(handler)
    for row in letters:
        tenant = transaction.names.find(row.tenant)
        if number is not None and tenant is not None:
            yield Mark(tenant, row.id, number, LETTER_KIND)
