"""The connection to the database: transactions and read-only snapshots, as the rest of the code sees them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events.failures import DatabaseUnavailable, Failure
from storage.driver import Driver
from storage.errors import failures_named
from storage.names import Names
from storage.row import Row, row_maker
from storage.rows import Rows

NOW = {
    # Stable within a statement, so that an index can be searched with it.
    "postgresql": "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS bigint)",
    # A function of ours: SQLite lives in this process, so its clock is the runtime's.
    "sqlite": "(SELECT now_ms())",
}
NAMES = "SELECT n.id, n.name, {now} AS now FROM (SELECT 1 AS one) AS it LEFT JOIN names n ON true"
LEARN_TRIES = 20


DriverOf = Callable[[AsyncConnection], Driver]


class Note(NamedTuple):
    """What a transactional handler has to tell people about an event, such as `+103 points`."""

    tenant: str
    redemption_id: str
    text: str


class Oddity(NamedTuple):
    """Something odd that a transactional handler met and settled by its own rules. Counted in the metrics:
    both words come from lists of our own, never from an event."""

    handler: str
    what: str


class Transaction:
    """An open transaction: everything a handler may do to the database, and nothing else."""

    def __init__(self, connection: AsyncConnection, driver: Driver, familiar: set[str]) -> None:
        """`driver`: the one below the connection. `familiar`: as in `Database`."""
        self.connection = connection
        """The open SQLAlchemy connection. Never commit or roll it back: the worker does."""
        self.driver = driver
        self.dialect = connection.dialect.name
        self.familiar = familiar
        self.names = Names({})
        self.now = 0
        """The database's clock when the transaction began, in milliseconds since 1970."""
        self.notes: list[Callable[[], Sequence[Note]]] = []
        """Made once all is stored, and only if somebody watches."""
        self.oddities: list[Oddity] = []
        self._savepoints = 0

    async def run(self, sql: str, rows: Rows | None = None, **parameters: Any) -> Sequence[Row]:
        """Run one statement and return its rows ([] if it returns none).

        `{rows}` in the statement stands for `rows`, `{now}` for the database's clock in milliseconds,
        `{lock}` for what locks the rows a SELECT reads (SQLite's one writer needs nothing).
        """
        sql = self._spoken(sql)
        if rows is None:
            return await self.driver.run(sql, parameters)
        return await self.driver.run_rows(sql, rows, parameters)

    async def run_each(self, sql: str, rows: list[dict[str, Any]]) -> None:
        """Run a statement for each of `rows` in one call, binary columns allowed."""
        if rows:
            await self.driver.run_each(self._spoken(sql), rows)

    async def stream(self, sql: str, **parameters: Any) -> AsyncIterator[Row]:
        """The rows of a statement without holding them all in memory."""
        async with self.connection.stream(text(self._spoken(sql)), parameters) as result:
            make = row_maker(tuple(result.keys()))
            async for row in result:
                yield make(row)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that is undone alone when it raises, with what it noted and the names it learned."""
        names, notes, oddities = self.names, len(self.notes), len(self.oddities)
        self._savepoints += 1
        name = f"part_{self._savepoints}"
        await self.driver.run(f"SAVEPOINT {name}", {})
        try:
            yield
        except BaseException as error:
            self.names = names
            del self.notes[notes:]
            del self.oddities[oddities:]
            try:
                await self.driver.run(f"ROLLBACK TO SAVEPOINT {name}", {})
            except Failure:
                if isinstance(error, Exception):
                    raise  # else whoever catches it would go on as if this part were undone
            raise
        await self.driver.run(f"RELEASE SAVEPOINT {name}", {})

    async def learn(self, words: Iterable[str]) -> None:
        """Make `names` know these words, storing the new ones."""
        wanted = set(words)
        for _ in range(LEARN_TRIES):
            missing = self.names.missing(wanted)
            if not missing:
                return
            for word in missing:
                # Another worker may take the same number at the same moment: then neither key conflicts
                # twice, we read again what is there.
                await self.run(
                    "INSERT INTO names (id, name) SELECT coalesce(max(id), 0) + 1, CAST(:word AS text) "
                    "FROM names WHERE true ON CONFLICT DO NOTHING",
                    word=word,
                )
            await self.read_names()
        raise DatabaseUnavailable("names_contended", "other workers kept taking the numbers for new names")

    async def begin(self) -> None:
        """The first statement: with it SQLAlchemy begins the transaction on PostgreSQL."""
        result = await self.connection.exec_driver_sql(self._spoken(NAMES))
        self._read(result.all())

    async def read_names(self) -> None:
        self._read(await self.run(NAMES))

    def _read(self, rows: Sequence[Any]) -> None:
        self.names = Names({row.name: row.id for row in rows if row.name is not None})
        self.now = self.now or rows[0].now

    def _spoken(self, sql: str) -> str:
        lock = "FOR UPDATE" if self.dialect == "postgresql" else ""
        return sql.replace("{now}", NOW[self.dialect]).replace("{lock}", lock)


class Database:
    """The way to the database. Its errors come out as Unavailable or Misconfigured, or as they are when the
    data is at fault (storage.errors)."""

    def __init__(self, engine: AsyncEngine, driver_of: DriverOf, *, patient: bool = False) -> None:
        self.engine = engine
        self.driver_of = driver_of
        self.dialect = engine.dialect.name
        self._patience = PATIENCE.get(self.dialect, ()) if patient else ()
        # SQLite has one writer: waiting for it here is fair, waiting in its busy handler is a lottery.
        self._writer = asyncio.Lock() if self.dialect == "sqlite" else None
        self._familiar: set[str] = set()
        """Tables that held some of what was to be inserted last (storage.inserting)."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One read-write transaction: commits at the end of the block, rolls back if it raises.

        Unavailable after the commit was sent leaves it unknown whether it took effect.
        """
        async with self._writer or nullcontext():
            with failures_named():
                async with self.engine.begin() as connection:
                    transaction = Transaction(connection, self.driver_of(connection), self._familiar)
                    await transaction.begin()
                    yield transaction

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """A read-only view of one moment, for commands that read while workers write."""
        with failures_named():
            async with self.engine.connect() as connection:
                await connection.execution_options(**SNAPSHOT_OPTIONS[self.dialect])
                async with connection.begin():
                    for statement in self._patience:
                        await connection.exec_driver_sql(statement)
                    transaction = Transaction(connection, self.driver_of(connection), self._familiar)
                    await transaction.begin()
                    yield transaction

    async def close(self) -> None:
        await self.engine.dispose()


PATIENCE = {
    "postgresql": (
        "SET LOCAL statement_timeout = 0",
        # Long, but not for ever: what an open snapshot may still see cannot be vacuumed.
        "SET LOCAL idle_in_transaction_session_timeout = '1h'",
    )
}
"""What a snapshot may wait for; it holds no lock that would hold anybody up."""
SNAPSHOT_OPTIONS: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    "sqlite": {"sqlite_begin": "BEGIN"},
}
