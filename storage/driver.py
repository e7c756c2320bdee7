"""Statements given to the driver itself, past SQLAlchemy and within the transaction that it has begun.

A batch of one event is a dozen statements, and SQLAlchemy's way to the driver and back takes longer than most
of them do.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from storage.row import Row
from storage.rows import Rows

ABSENT = "absent"
"""The savepoint around rows of which none may be there."""


class Driver(Protocol):
    """A connection whose transaction is open. Raises Unavailable, Misconfigured or, where the data or the
    statement is at fault, SQLAlchemy's DBAPIError, as its own connection does."""

    async def run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """One statement, its parameters as `:name`; [] if it returns no rows."""

    async def run_rows(self, sql: str, rows: Rows, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """The same with `{rows}` for the rows."""

    async def run_each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A statement for each of the rows."""

    async def insert_new(self, table: str, rows: Rows) -> None:
        """Insert rows of which none is there. Raises IntegrityError if one is: some of the others may then be
        in, until the caller rolls back."""

    async def insert_all_or_none(self, table: str, rows: Rows) -> None:
        """Raises IntegrityError having undone it."""
