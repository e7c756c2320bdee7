"""An empty database with the schema: SQLite anew for each test, PostgreSQL one for the session, emptied."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from sqlalchemy import Column, MetaData, Table, Text

from events.failures import DatabaseUnavailable
from events.runtime import Runtime, SystemRuntime
from storage.connect import connect
from storage.database import Database, Transaction
from storage.schema import metadata

SALES = "CREATE TABLE IF NOT EXISTS sales (id text PRIMARY KEY)"
"""The table of a user's handler."""


@asynccontextmanager
async def prepared(url: str, runtime: Runtime | None = None) -> AsyncIterator[Database]:
    database = connect(url, runtime or SystemRuntime())
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.exec_driver_sql(SALES)
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def emptied(url: str) -> AsyncIterator[Database]:
    """A PostgreSQL database that an earlier test has used, perhaps leaving sessions behind."""
    async with prepared(url) as database:
        tables = ", ".join([*metadata.tables, "sales"])
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await connection.exec_driver_sql(f"TRUNCATE {tables}")
        yield database


class FlakyDatabase(Database):
    """The same database with the outages that a test asks for."""

    def __init__(self, real: Database) -> None:
        super().__init__(real.engine, real.driver_of)
        self.down = False
        self.lost_answers = 0
        """So many transactions commit, and nobody hears of it."""
        self.error: Exception | None = None
        self.tried = 0

    def _check(self) -> None:
        self.tried += 1
        if self.down:
            raise DatabaseUnavailable("database_unavailable", "the database is down")
        if self.error:
            raise self.error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self._check()
        async with super().transaction() as transaction:
            yield transaction
        if self.lost_answers:
            self.lost_answers -= 1
            raise DatabaseUnavailable(
                "database_unavailable", "the connection broke after the commit was sent"
            )

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        self._check()
        async with super().snapshot() as snapshot:
            yield snapshot


SALES_TABLE = Table("sales", MetaData(), Column("id", Text))
Backup = dict[Table, list[dict[str, Any]]]


async def backed_up(database: Database) -> Backup:
    """Every row there is."""
    async with database.snapshot() as snapshot:
        return {
            table: [dict(row) for row in (await snapshot.connection.execute(table.select())).mappings()]
            for table in (*metadata.sorted_tables, SALES_TABLE)
        }


async def restore(database: Database, backup: Backup) -> None:
    async with database.transaction() as transaction:
        for table, rows in backup.items():
            await transaction.connection.execute(table.delete())
            if rows:
                await transaction.connection.execute(table.insert(), rows)


async def scalar(database: Database, sql: str, **parameters: Any) -> Any:
    async with database.snapshot() as snapshot:
        return (await snapshot.run(sql, **parameters))[0][0]


async def said_to(url: str, statement: str) -> None:
    """Run a statement as an administrator would, on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def shared_url(postgres_url: str) -> Iterator[str]:
    """The URL of a database that tests use in turn: making one for each would take longer than they do."""
    name = f"test_{uuid.uuid4().hex}"
    asyncio.run(said_to(postgres_url, f"CREATE DATABASE {name}"))
    yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    asyncio.run(said_to(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async with prepared(f"sqlite:///{tmp_path / 'store.db'}") as database:
        yield database


@pytest.fixture
async def postgres(shared_url: str) -> AsyncIterator[Database]:
    async with emptied(shared_url) as database:
        yield database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    database: Database = request.getfixturevalue(request.param)
    return database
