"""A database that nobody else sees, gone after use: to find out what would happen without doing it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory

from events.runtime import Runtime
from storage.connect import connect
from storage.database import Transaction
from storage.schema import metadata


@asynccontextmanager
async def scratch(runtime: Runtime) -> AsyncIterator[Transaction]:
    """A transaction on an empty SQLite database with our schema, in a temporary file."""
    with TemporaryDirectory(prefix="redemptions-") as directory:
        database = connect(f"sqlite:///{directory}/scratch.db", runtime)
        try:
            async with database.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            async with database.transaction() as transaction:
                yield transaction
        finally:
            await database.close()
