"""The product's Database and Transaction over a simulated store: without SQLAlchemy, driver and thread."""

import sqlite3
from collections import namedtuple
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
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
        return Answer(columns, rows)

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

    def begin(self) -> "Begun":
        return Begun(self._store, self._session)


class Begun:
    """A transaction that is open while it is entered. No generator: thousands are entered in a schedule."""

    def __init__(self, store: Store, session: Session) -> None:
        self._store = store
        self._session = session

    async def __aenter__(self) -> None:
        await self._store.begin(self._session)

    async def __aexit__(self, kind: Any, *_: object) -> None:
        try:
            if kind is None:
                await self._store.commit(self._session)
        finally:
            self._store.end(self._session)


class Answer:
    """A statement's rows."""

    __slots__ = ("_columns", "_rows", "returns_rows")

    def __init__(self, columns: Any, rows: list[Any]) -> None:
        """`columns`: as the driver describes them; None for a statement that returns no rows."""
        self.returns_rows = columns is not None
        self._columns = columns
        self._rows = rows

    def all(self) -> list[Any]:
        return list(map(maker_of(self._columns), self._rows)) if self._rows else []


@cache
def maker_of(columns: Any) -> Callable[[tuple[Any, ...]], Any]:
    """What makes a tuple a statement's row, which can do what SQLAlchemy's can."""
    names = tuple(column[0] for column in columns)

    class Row(namedtuple("Columns", names, rename=True)):  # type: ignore[misc]
        @property
        def _mapping(self) -> dict[str, Any]:
            return dict(zip(names, self, strict=True))

    return partial(tuple.__new__, Row)


class InlineEngine:
    """What a Database asks of SQLAlchemy's engine."""

    dialect = SQLITE

    def __init__(self, store: Store) -> None:
        self._store = store

    def connect(self) -> "Connected":
        return Connected(self._store)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[InlineConnection]:
        async with self.connect() as connection, connection.begin():
            yield connection


class Connected:
    """A connection while it is entered."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __aenter__(self) -> InlineConnection:
        return InlineConnection(self._store, Session())

    async def __aexit__(self, *_: object) -> None: ...


def inline_database(store: Store) -> Database:
    """One machine's way to the store."""
    engine: Any = InlineEngine(store)
    return Database(engine)
