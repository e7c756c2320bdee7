"""The product's Database and Transaction over a simulated store: without SQLAlchemy, driver and thread."""

import sqlite3
from collections import namedtuple
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from types import SimpleNamespace
from typing import Any

from sqlalchemy.exc import DBAPIError

from storage.database import Database
from storage.errors import failure_of
from tests.simulation.store import Session, Store

SQLITE = SimpleNamespace(name="sqlite")


class InlineConnection:
    """What a Transaction asks of SQLAlchemy's connection, run in the loop's own thread."""

    dialect = SQLITE

    def __init__(self, store: Store, session: Session) -> None:
        self._store = store
        self._session = session
        self._savepoints = count()

    async def execute(self, statement: Any, parameters: Any) -> "Answer":
        return await self.exec_driver_sql(statement.text, parameters)

    async def exec_driver_sql(self, sql: str, parameters: Any = ()) -> "Answer":
        try:
            columns, rows = await self._store.execute(self._session, sql, parameters)
        except sqlite3.Error as error:
            # As SQLAlchemy and storage.errors.name_failures do for each statement.
            raise failure_of(error) or DBAPIError.instance(sql, None, error, sqlite3.Error) from error
        return Answer(tuple(column[0] for column in columns or ()), rows)

    @asynccontextmanager
    async def stream(self, statement: Any, parameters: Any) -> AsyncIterator[AsyncIterator[Any]]:
        answer = await self.execute(statement, parameters)

        async def rows() -> AsyncIterator[Any]:
            for row in answer.all():
                yield row

        yield rows()

    @asynccontextmanager
    async def begin_nested(self) -> AsyncIterator[None]:
        name = f"s{next(self._savepoints)}"
        await self.exec_driver_sql(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            if not self._session.broken:
                await self.exec_driver_sql(f"ROLLBACK TO {name}")
            raise
        await self.exec_driver_sql(f"RELEASE {name}")

    async def execution_options(self, **_: Any) -> None:
        """Which BEGIN it is makes no difference where one transaction runs at a time."""

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        await self._store.begin(self._session)
        try:
            yield
            await self._store.commit(self._session)
        finally:
            self._store.end(self._session)


class Answer:
    """A statement's rows."""

    def __init__(self, columns: tuple[str, ...], rows: list[Any]) -> None:
        self._columns = columns
        self._rows = rows

    @property
    def returns_rows(self) -> bool:
        return bool(self._columns)

    def all(self) -> list[Any]:
        return list(map(row_of(self._columns)._make, self._rows))


@cache
def row_of(columns: tuple[str, ...]) -> Any:
    """The class of a statement's rows, which can do what SQLAlchemy's can."""

    class Row(namedtuple("Columns", columns, rename=True)):  # type: ignore[misc]
        @property
        def _mapping(self) -> dict[str, Any]:
            return dict(zip(columns, self, strict=True))

    return Row


class InlineEngine:
    """What a Database asks of SQLAlchemy's engine."""

    dialect = SQLITE

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[InlineConnection]:
        yield InlineConnection(self._store, Session())

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[InlineConnection]:
        async with self.connect() as connection, connection.begin():
            yield connection


def inline_database(store: Store) -> Database:
    """One machine's way to the store."""
    engine: Any = InlineEngine(store)
    return Database(engine)
