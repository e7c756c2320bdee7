"""Filters of operators that name a customer: in jobs, and in the audit, which sees no other change."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec

from storage.audit import RESULT
from storage.database import Transaction
from storage.erasures import Customer
from storage.row import Row
from storage.stretches import stretches

PLACES = {"jobs": ("id", "what"), "audit": ("key", "content")}
"""Of each table the key, and the column that holds a filter as JSON."""


class NamingFilter(NamedTuple):
    table: str
    row: Row
    """All columns."""
    filter: dict[str, Any]

    @property
    def key(self) -> str:
        key: str = getattr(self.row, PLACES[self.table][0])
        return key


async def filters_naming(snapshot: Transaction, customer: Customer) -> AsyncIterator[NamingFilter]:
    """Also those that named no tenant: they were about the customers of that id of every tenant."""
    tenant, id = customer
    for table, (key, column) in PLACES.items():
        async for after, upto in stretches(snapshot, table, key=key):
            rows = await snapshot.run(
                f"SELECT * FROM {table} WHERE {key} > :after AND {key} <= :upto "
                f"AND {column} LIKE '%customer_id%' ORDER BY {key}",
                after=after,
                upto=upto,
            )
            for row in rows:
                asked = msgspec.json.decode(getattr(row, column))
                if asked.get("customer_id") == id and asked.get("tenant") in {None, tenant}:
                    yield NamingFilter(table, row, asked)


async def unname(transaction: Transaction, filters: Sequence[NamingFilter], reason: str) -> None:
    """Take the customer out of these, and what operators said about them; `reason` stands in its place."""
    for table, (key, column) in PLACES.items():
        await transaction.run_each(
            f"UPDATE {table} SET {column} = :filter, "
            f"reason = CASE WHEN reason IS NULL THEN NULL ELSE :reason END WHERE {key} = :key",
            [
                {
                    "key": each.key,
                    "filter": msgspec.json.encode(each.filter | {"customer_id": None}).decode(),
                    "reason": reason,
                }
                for each in filters
                if each.table == table
            ],
        )
    await transaction.run_each(
        "UPDATE audit SET reason = :reason WHERE key = :key AND reason IS NOT NULL",
        [{"key": f"{each.key}{RESULT}", "reason": reason} for each in filters if each.table == "audit"],
    )
