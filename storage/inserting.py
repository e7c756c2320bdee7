"""Rows that are new, stored the short way: tried first as if none were there."""

from itertools import islice
from typing import Any

from sqlalchemy.exc import IntegrityError

from storage.database import Transaction
from storage.rows import Rows

FEW = 50
"""Rows. A trial takes three trips to PostgreSQL; with fewer than these, one statement is sooner done."""


async def insert_new(transaction: Transaction, table: str, rows: Rows) -> None:
    """Insert rows of which none is there. Raises IntegrityError if one is: some of the others may then be in,
    until the caller rolls back."""
    if rows:
        await transaction.driver.insert_new(table, rows)


async def insert_absent(transaction: Transaction, table: str, rows: Rows, key: int) -> set[tuple[Any, ...]]:
    """Insert the rows that are new by their first `key` columns; returns the keys that were there.

    `rows` must be sorted, each key once: that is the order in which the new ones are locked.
    """
    is_trial_cheap = transaction.dialect == "sqlite" or len(rows) >= FEW
    if table not in transaction.familiar and is_trial_cheap:
        try:
            await transaction.driver.insert_all_or_none(table, rows)
        except IntegrityError:
            # Where the same events come by two webhooks it would fail again and again, half-way.
            transaction.familiar.add(table)
        else:
            return set()
    asked = _postgresql if transaction.dialect == "postgresql" else _sqlite
    known = await asked(transaction, table, rows, key)
    if not known:
        transaction.familiar.discard(table)
    return known


async def _postgresql(transaction: Transaction, table: str, rows: Rows, key: int) -> set[tuple[Any, ...]]:
    names = ", ".join(islice(rows.columns, key))
    # Told of the few that were there: to be told of each new one costs us as much as to send it.
    there = await transaction.run(
        f"WITH r AS MATERIALIZED (SELECT * FROM {{rows}}), new AS ("
        f"{rows.insert(table).replace('{rows}', 'r')} ON CONFLICT DO NOTHING RETURNING {names}) "
        f"SELECT {names} FROM r EXCEPT SELECT {names} FROM new",
        rows,
    )
    return set(map(tuple, there))


async def _sqlite(transaction: Transaction, table: str, rows: Rows, key: int) -> set[tuple[Any, ...]]:
    """The only writer may look first."""
    columns = dict(islice(rows.columns.items(), key))
    same = " AND ".join(f"t.{name} = r.{name}" for name in columns)
    found = await transaction.run(
        f"SELECT {', '.join(f'r.{name}' for name in columns)} "
        f"FROM {{rows}} CROSS JOIN {table} t WHERE {same}",
        Rows(columns, [row[:key] for row in rows.rows]),
    )
    known = set(map(tuple, found))
    fresh = [row for row in rows.rows if row[:key] not in known] if known else rows.rows
    await insert_new(transaction, table, Rows(rows.columns, fresh))
    return known
