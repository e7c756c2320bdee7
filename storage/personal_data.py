"""All that is kept of one customer, for whoever has a right to see it."""

import base64
from collections.abc import AsyncIterator
from typing import Any

from storage.customer_search import letters_of, records_of
from storage.database import Transaction
from storage.erasures import Customer, erasures_of
from storage.filters_naming import filters_naming
from storage.payloads import pack_headers, unpack_headers
from storage.schema import KINDS, LetterState, State
from storage.stretches import stretches

Told = dict[str, Any]


async def personal_data(snapshot: Transaction, customer: Customer) -> AsyncIterator[tuple[str, Told]]:
    """(table, row) pairs, numbers of names, kinds and states as words, bodies as text or base64.

    One pass over the facts and over what pending effects need: they have no index by customer.
    """
    tenant, id = customer
    redemptions: set[str] = set()
    for erased_at in (await erasures_of(snapshot, [customer])).values():
        yield "erasures", {"erased_at": erased_at}
    async for told in _ledger(snapshot, customer, redemptions):
        yield told
    async for record in records_of(snapshot, customer):
        _, redemption, kind = record.event
        redemptions.add(redemption)
        kept = record.payload._asdict() | {"headers": pack_headers(record.payload.headers)}
        yield "payloads", {"redemption_id": redemption, "kind": KINDS[kind]} | _readable(kept)
    async for letter in letters_of(snapshot, customer):
        if not letter.is_certain:
            continue  # it may be about somebody else
        if letter.row.redemption_id is not None:
            redemptions.add(letter.row.redemption_id)
        state = LetterState(letter.row.state).name.lower()
        yield "dead_letters", _readable(letter.row._asdict()) | {"state": state}
    async for told in _marks(snapshot, customer, redemptions):
        yield told
    async for row in snapshot.stream(
        "SELECT at, who, action, reason, content FROM audit WHERE subject = :customer AND tenant = :tenant "
        "ORDER BY at",
        customer=id,
        tenant=tenant,
    ):
        yield "audit", row._asdict()
    async for each in filters_naming(snapshot, customer):
        names = ("created_at" if each.table == "jobs" else "at", "who", "reason")
        yield each.table, {"filter": each.filter} | {name: getattr(each.row, name) for name in names}


async def _ledger(
    snapshot: Transaction, customer: Customer, redemptions: set[str]
) -> AsyncIterator[tuple[str, Told]]:
    number = snapshot.names.find(customer[0])
    if number is None:
        return
    for table, order in (("balances", "customer_id"), ("entries", "at, key")):
        async for row in snapshot.stream(
            f"SELECT * FROM {table} WHERE customer_id = :customer AND tenant = :tenant ORDER BY {order}",
            customer=customer[1],
            tenant=number,
        ):
            yield table, _named(row._asdict())
    async for after, upto in stretches(snapshot, "facts"):
        for row in await snapshot.run(
            "SELECT * FROM facts WHERE redemption_id > :after AND redemption_id <= :upto "
            "AND tenant = :tenant AND customer_id = :customer ORDER BY redemption_id",
            after=after,
            upto=upto,
            tenant=number,
            customer=customer[1],
        ):
            redemptions.add(row.redemption_id)
            yield "facts", _named(row._asdict())


async def _marks(
    snapshot: Transaction, customer: Customer, redemptions: set[str]
) -> AsyncIterator[tuple[str, Told]]:
    number = snapshot.names.find(customer[0])
    for redemption in sorted(redemptions):
        for row in await snapshot.run(
            "SELECT redemption_id, handler, kind, state, attempts, due_at, last_error FROM effects "
            "WHERE tenant = :tenant AND redemption_id = :redemption ORDER BY handler, kind",
            tenant=number,
            redemption=redemption,
        ):
            yield (
                "effects",
                row._asdict()
                | {
                    "handler": snapshot.names.word(row.handler),
                    "kind": KINDS[row.kind],
                    "state": State(row.state).name.lower(),
                },
            )
    async for row in snapshot.stream(
        "SELECT * FROM notification_calls WHERE customer_id = :customer AND tenant = :tenant ORDER BY at",
        customer=customer[1],
        tenant=number,
    ):
        yield "notification_calls", _named(row._asdict())


def _named(row: Any) -> Told:
    return {name: value for name, value in row.items() if name not in {"tenant", "known"}}


def _readable(row: Any) -> Told:
    told = _named(row) | {
        "headers": [[name, _text(value)] for name, value in unpack_headers(row["headers"])],
        "key": None if row["key"] is None else _text(row["key"]),
        "body": _text(row["value"]),
    }
    del told["value"]
    return told


def _text(value: bytes) -> str:
    """Bytes as they are if they are text, else as base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(value).decode()}"
