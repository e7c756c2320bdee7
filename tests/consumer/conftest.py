"""An empty database with the schema, on SQLite and on PostgreSQL, and a worker on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from events.runtime import SystemRuntime
from storage.connect import connect
from storage.database import Database
from storage.schema import metadata
from tests.consumer.bench import Bench
from tests.consumer.scripted import ScriptedLog


@asynccontextmanager
async def prepared(url: str) -> AsyncIterator[Database]:
    database = connect(url, SystemRuntime())
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with database.transaction() as transaction:
        await transaction.run("CREATE TABLE sales (id text PRIMARY KEY)")
    yield database
    await database.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async with prepared(f"sqlite:///{tmp_path / 'store.db'}") as database:
        yield database


@pytest.fixture
async def postgres(postgres_database: str) -> AsyncIterator[Database]:
    async with prepared(postgres_database) as database:
        yield database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    database: Database = request.getfixturevalue(request.param)
    return database


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
def bench(database: Database, log: ScriptedLog) -> Bench:
    return Bench(database, log)
