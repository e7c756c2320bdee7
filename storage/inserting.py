"""Rows that are new, stored the short way: PostgreSQL takes them by COPY, at half of what an INSERT of the
same rows costs it, and SQLite in one trip to its thread."""

from itertools import islice
from typing import Any

from sqlalchemy.exc import IntegrityError

from storage.database import Transaction
from storage.errors import failure_of
from storage.rows import Rows
from storage.sqlite_driver import IN_ONE_TRIP


async def insert_new(transaction: Transaction, table: str, rows: Rows) -> None:
    """Insert rows of which none is there. Raises IntegrityError if one is: some of the others may then be in,
    until the caller rolls back."""
    if not rows:
        return
    if transaction.dialect == "postgresql":
        await _copy(transaction, table, rows)
        return
    await transaction.run(_insert_or_fail(table, rows), rows)


async def insert_absent(transaction: Transaction, table: str, rows: Rows, key: int) -> set[tuple[Any, ...]]:
    """Insert the rows that are new by their first `key` columns; returns the keys that were there.

    `rows` must be sorted, each key once: that is the order in which the new ones are locked.
    """
    if table not in transaction.familiar:
        try:
            await _tried(transaction, table, rows)
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


async def _tried(transaction: Transaction, table: str, rows: Rows) -> None:
    """Insert all or, raising IntegrityError, nothing."""
    if transaction.dialect == "postgresql":
        async with transaction.savepoint():
            await insert_new(transaction, table, rows)
        return
    trip = [("SAVEPOINT absent", ()), *rows.pieces(_insert_or_fail(table, rows), {}), ("RELEASE absent", ())]
    try:
        await transaction.connection.exec_driver_sql(IN_ONE_TRIP, trip)
    except IntegrityError:
        undo = [("ROLLBACK TO absent", ()), ("RELEASE absent", ())]
        await transaction.connection.exec_driver_sql(IN_ONE_TRIP, undo)
        raise


async def _postgresql(transaction: Transaction, table: str, rows: Rows, key: int) -> set[tuple[Any, ...]]:
    names = ", ".join(islice(rows.columns, key))
    # Told of the few that were there: to be told of each new one costs us as much as to send it.
    there = await transaction.run(
        f"WITH r AS MATERIALIZED (SELECT * FROM {{rows}}), new AS ("
        f"{_insert(table, rows).replace('{rows}', 'r')} ON CONFLICT DO NOTHING RETURNING {names}) "
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


def _insert(table: str, rows: Rows) -> str:
    names = ", ".join(rows.columns)
    return (
        f"INSERT INTO {table} ({names}) SELECT {', '.join(f'r.{name}' for name in rows.columns)} "
        "FROM {rows} WHERE true"
    )


def _insert_or_fail(table: str, rows: Rows) -> str:
    """For SQLite, within a savepoint or a transaction that ends when it fails: to be able to undo the
    statement alone, it would keep a copy of each page that it changes."""
    return _insert(table, rows).replace("INSERT", "INSERT OR FAIL", 1)


async def _copy(transaction: Transaction, table: str, rows: Rows) -> None:
    raw = await transaction.connection.get_raw_connection()
    driver: Any = raw.driver_connection
    try:
        await driver.copy_records_to_table(table, records=rows.rows, columns=list(rows.columns))
    except Exception as error:
        # As SQLAlchemy and storage.errors.name_failures do for each statement.
        if failure := failure_of(error):
            raise failure from error
        if str(getattr(error, "sqlstate", "")).startswith("23"):
            raise IntegrityError(f"COPY {table}", None, error) from error
        raise
