"""An empty database with our schema, in memory: made once, and emptied for each schedule."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from events.runtime import SystemRuntime
from handlers.loyalty.policy import STANDARD
from handlers.loyalty.policy_history import admit
from storage.connect import connect
from storage.schema import metadata
from storage.upgrade import upgrade
from tests.simulation.outside import SCHEMA

KEPT = {"policies"}
"""What a worker's start writes; the rest begins empty."""


class Template:
    """Owns the connection. The same for all schedules, as preparing every statement anew takes longer than
    a schedule does."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=1000)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "template.db"
            asyncio.run(_migrate(path))
            with closing(sqlite3.connect(path)) as migrated:
                migrated.backup(self.connection)
        self._clock: Callable[[], float] = lambda: 0.0
        # Once: with a new function all statements would have to be prepared anew.
        self.connection.create_function("now_ms", 0, lambda: int(self._clock() * 1000))
        self.connection.execute("PRAGMA journal_mode = MEMORY")  # in memory a WAL is no more than a name
        self.connection.execute(SCHEMA)
        self._tables = ["sales", *(table for table in metadata.tables if table not in KEPT)]

    def emptied(self, clock: Callable[[], float]) -> sqlite3.Connection:
        """`clock`: what the database's own says, seconds since 1970."""
        self._clock = clock
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        for table in self._tables:
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a table of ours
        return self.connection

    def close(self) -> None:
        self.connection.close()


async def _migrate(path: Path) -> None:
    database = connect(f"sqlite:///{path}", SystemRuntime())
    try:
        await upgrade(database)
        await admit(database, STANDARD)
    finally:
        await database.close()
