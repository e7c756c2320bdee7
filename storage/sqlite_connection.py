"""aiosqlite with one trip to its thread for a statement, or for several, not four for each.

SQLAlchemy asks for a cursor, executes, fetches and closes. Each of these waits until the thread has the
interpreter's lock, and then until the loop has a moment for the answer: some ten milliseconds each beside a
loop that decodes.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from operator import pos
from types import SimpleNamespace
from typing import Any, NamedTuple, Self, TypeVar

import aiosqlite

T = TypeVar("T")

WITHOUT_ANSWER = ("BEGIN", "SAVEPOINT ", "RELEASE ")
"""Beginnings of statements that are sent with the next one, which tells if they failed."""
IN_ONE_TRIP = "-- several statements, each with its parameters"
"""As a statement: its parameters are a list of statements, each with its own. No rows come back."""
FETCHED_AT_ONCE = 5_000
"""Rows that come with the execution; of a longer answer the others come as they are asked for."""

# What is no plain int, float or str is looked up in a table of adapters. What is not in there either costs
# 400 ns, for which the thread keeps the interpreter's lock. None stays None, and a bool becomes a number, as
# they do without.
NO_WORDS: dict[None, None] = {}
sqlite3.register_adapter(type(None), NO_WORDS.get)
sqlite3.register_adapter(bool, pos)


async def opened(path: str, prepared_statements: int) -> aiosqlite.Connection:
    """A connection without a transaction: whoever wants one says BEGIN."""

    def connected() -> sqlite3.Connection:
        return sqlite3.connect(
            path, isolation_level=None, cached_statements=prepared_statements, factory=_Connection
        )

    connection = AsyncConnection(connected, FETCHED_AT_ONCE)
    connection._thread.daemon = (
        True  # as SQLAlchemy has it: a connection left open must not keep us from ending
    )
    return await connection


class _Connection(sqlite3.Connection):
    """Lets go of its locks when it is closed.

    SQLite closes a connection for good, and so ends its transaction, with its last statement, which lives as
    long as a cursor does: in the traceback of the error that ended it, say. So a transaction cut off by a
    time-out would keep everybody else from writing until the garbage collector came by.
    """

    def close(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # closed before: the driver may do it twice
            self.rollback()
        super().close()


class AsyncConnection(aiosqlite.Connection):
    _unsent: tuple[str, ...] = ()
    """Statements of WITHOUT_ANSWER."""
    _ended = False
    """Nothing has been asked since the last transaction ended."""

    def cursor(self) -> "_Cursor":  # type: ignore[override]
        return _Cursor(self)

    async def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """In the thread that the connection belongs to."""
        unsent, self._unsent, self._ended = self._unsent, (), False
        if unsent:
            question = partial(_behind, unsent, question)
        return await self._execute(question, self._conn, *arguments)  # type: ignore[no-any-return,no-untyped-call]

    def put_off(self, sql: str) -> None:
        self._unsent += (sql,)

    async def answer(self, sql: str, parameters: Any) -> "Told":
        """One statement, or IN_ONE_TRIP, past SQLAlchemy's cursors."""
        if sql.startswith(WITHOUT_ANSWER):
            self.put_off(sql)
            return Told(None, [])
        return await self.ask(_told, sql, parameters)

    async def commit(self) -> None:
        await self._end(super().commit)

    async def rollback(self) -> None:
        """Also asked for by the pool, behind each commit."""
        await self._end(super().rollback)

    async def _end(self, end: Callable[[], Awaitable[None]]) -> None:
        self._unsent = ()  # a transaction that has not begun, savepoints that end with theirs
        if not self._ended:
            await end()
            self._ended = True


class Told(NamedTuple):
    columns: tuple[str, ...] | None
    """None: a statement that returns no rows."""
    rows: list[Any]


class _Answer(NamedTuple):
    cursor: sqlite3.Cursor
    rows: list[Any]
    more: bool
    """Whether there may be more rows; if not, the cursor is closed."""


_UNANSWERED = SimpleNamespace(description=None, rowcount=-1, lastrowid=None)
"""What a cursor tells of a statement that has not been sent."""


class _Cursor(aiosqlite.Cursor):
    """Made with its first statement."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, None)  # type: ignore[arg-type]
        self._connection = connection
        self._rows: list[Any] = []
        self._more = False

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:
        if sql.startswith(WITHOUT_ANSWER):
            self._connection.put_off(sql)
            self._cursor = _UNANSWERED  # type: ignore[assignment]
        else:
            self._cursor, self._rows, self._more = await self._connection.ask(
                _executed, sql, parameters or ()
            )
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        self._cursor, self._rows, self._more = await self._connection.ask(_executed_each, sql, parameters)
        return self

    async def fetchone(self) -> Any:
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        most = self.arraysize if size is None else size
        while self._more and len(self._rows) < most:
            _, rows, self._more = await self._connection.ask(_fetched, self._cursor)
            self._rows += rows
        rows, self._rows = self._rows[:most], self._rows[most:]
        return rows

    async def fetchall(self) -> Sequence[Any]:
        rows, self._rows = self._rows, []
        if self._more:
            rows += await self._execute(self._cursor.fetchall)  # type: ignore[no-untyped-call]
            self._more = False
        return rows

    async def close(self) -> None:
        if self._more:
            self._more = False
            await super().close()


def _behind(
    unsent: Iterable[str], question: Callable[..., T], connection: sqlite3.Connection, *arguments: Any
) -> T:
    for sql in unsent:
        connection.execute(sql)
    return question(connection, *arguments)


def _told(connection: sqlite3.Connection, sql: str, parameters: Any) -> Told:
    if isinstance(parameters, list):
        execute_each(connection, sql, parameters)
        return Told(None, [])
    return told(connection.execute(sql, parameters))


def told(cursor: sqlite3.Cursor) -> Told:
    """All that there is."""
    if cursor.description is None:
        return Told(None, [])
    return Told(tuple([column[0] for column in cursor.description]), cursor.fetchall())


def _executed(connection: sqlite3.Connection, sql: str, parameters: Any) -> _Answer:
    return _fetched(connection, connection.execute(sql, parameters))


def _executed_each(connection: sqlite3.Connection, sql: str, parameters: Any) -> _Answer:
    return _fetched(connection, execute_each(connection, sql, parameters))


def execute_each(connection: sqlite3.Connection, sql: str, parameters: Any) -> sqlite3.Cursor:
    """`executemany`, or what IN_ONE_TRIP says."""
    if sql != IN_ONE_TRIP:
        return connection.executemany(sql, parameters)
    cursor = connection.cursor()
    for each, its in parameters:
        cursor.execute(each, its)
    return cursor


def _fetched(_: sqlite3.Connection, cursor: sqlite3.Cursor) -> _Answer:
    rows = [] if cursor.description is None else cursor.fetchmany(FETCHED_AT_ONCE)
    more = len(rows) == FETCHED_AT_ONCE
    if not more:
        cursor.close()
    return _Answer(cursor, rows, more)
