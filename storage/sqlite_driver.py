"""aiosqlite as we use it below SQLAlchemy."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError

from storage.driver import ABSENT
from storage.errors import fault_of
from storage.row import Row, row_maker
from storage.rows import Rows
from storage.sqlite_connection import IN_ONE_TRIP, Told

Answer = Callable[[str, Any], Awaitable[Told]]
"""What `sqlite_connection.AsyncConnection.answer` does."""


class SqliteDriver:
    """A `Driver`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        return await self._ask(sql, parameters)

    async def run_rows(self, sql: str, rows: Rows, parameters: Mapping[str, Any]) -> Sequence[Row]:
        pieces = list(rows.pieces(sql, parameters))
        if len(pieces) > 1 and sql.startswith(("INSERT", "UPDATE", "DELETE")) and "RETURNING" not in sql:
            return await self._ask(IN_ONE_TRIP, pieces)
        found: list[Row] = []
        for piece, values in pieces:
            found += await self._ask(piece, values)
        return found

    async def run_each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        await self._ask(sql, list(rows))

    async def insert_new(self, table: str, rows: Rows) -> None:
        await self.run_rows(_insert_or_fail(table, rows), rows, {})

    async def insert_all_or_none(self, table: str, rows: Rows) -> None:
        trip = [
            (f"SAVEPOINT {ABSENT}", ()),
            *rows.pieces(_insert_or_fail(table, rows), {}),
            (f"RELEASE {ABSENT}", ()),
        ]
        try:
            await self._ask(IN_ONE_TRIP, trip)
        except IntegrityError:
            await self._ask(IN_ONE_TRIP, [(f"ROLLBACK TO {ABSENT}", ()), (f"RELEASE {ABSENT}", ())])
            raise

    async def _ask(self, sql: str, parameters: Any) -> list[Row]:
        try:
            columns, rows = await self._answer(sql, parameters)
        except sqlite3.Error as error:
            raise fault_of(error, sql) from error
        return [] if columns is None else list(map(row_maker(columns), rows))


def _insert_or_fail(table: str, rows: Rows) -> str:
    """Within a savepoint or a transaction that ends when it fails: to be able to undo the statement alone,
    SQLite would keep a copy of each page that it changes."""
    return rows.insert(table).replace("INSERT", "INSERT OR FAIL", 1)
