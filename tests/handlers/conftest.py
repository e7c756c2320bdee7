"""An empty ledger on SQLite and on PostgreSQL: what holds for one has to hold for the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.runtime import SystemRuntime
from storage.connect import connect
from storage.database import Database
from storage.schema import metadata
from tests.handlers.books import Books


async def opened(url: str) -> Database:
    database = connect(url, SystemRuntime())
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return database


@pytest.fixture
async def sqlite_books(tmp_path: Path) -> AsyncIterator[Books]:
    database = await opened(f"sqlite:///{tmp_path / 'store.db'}")
    yield Books(database)
    await database.close()


@pytest.fixture
async def postgres_books(postgres_database: str) -> AsyncIterator[Books]:
    database = await opened(postgres_database)
    yield Books(database)
    await database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def books(request: pytest.FixtureRequest) -> Books:
    books: Books = request.getfixturevalue(f"{request.param}_books")
    return books
