"""The product's Database and Transaction over a simulated store: without SQLAlchemy, driver and thread."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from storage.database import Database
from storage.errors import fault_of
from storage.row import Row, row_maker
from storage.sqlite_connection import Told
from storage.sqlite_driver import SqliteDriver
from tests.simulation.store import Session, Store

SQLITE = SimpleNamespace(name="sqlite")


class InlineConnection:
    """What a Transaction asks of SQLAlchemy's connection, run in the loop's own thread."""

    dialect = SQLITE

    def __init__(self, store: Store, session: Session) -> None:
        self._store = store
        self._session = session

    async def answer(self, sql: str, parameters: Any) -> Told:
        """As the driver's connection answers."""
        return await self._store.execute(self._session, sql, parameters)

    async def exec_driver_sql(self, sql: str, parameters: Any = ()) -> "Answer":
        try:
            return Answer(await self.answer(sql, parameters))
        except sqlite3.Error as error:
            raise fault_of(error, sql) from error

    @asynccontextmanager
    async def stream(self, statement: Any, parameters: Any) -> AsyncIterator["Answer"]:
        yield await self.exec_driver_sql(statement.text, parameters)

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
    """A statement's rows, as SQLAlchemy gives them."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def keys(self) -> tuple[str, ...]:
        return self._told.columns or ()

    def all(self) -> list[Row]:
        return list(map(row_maker(self.keys()), self._told.rows))

    async def __aiter__(self) -> AsyncIterator[Any]:
        for row in self._told.rows:
            yield row


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
    return Database(engine, lambda connection: SqliteDriver(cast(Any, connection).answer))
