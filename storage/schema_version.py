"""Which version the schema has, and whether this program may work on it. Without Alembic, which takes nine
megabytes of every worker: its own tables and files are all that is read."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from events.failures import Misconfigured
from storage.database import Database
from storage.errors import failures_named

MIGRATIONS = Path(__file__).parent / "migrations"
"""In `versions` a file for each revision, whose name begins with it: sorted, they follow each other."""


class SchemaVersion(NamedTuple):
    """The database's revision (None: empty) and the newest one this program knows."""

    current: str | None
    newest: str

    @property
    def is_behind(self) -> bool:
        """A revision we do not know is a newer one: migrations only add, so an old worker may go on during
        a rolling upgrade."""
        return self.current is None or (self.current != self.newest and self.current in revisions())


def revisions() -> list[str]:
    """All that this program knows, the oldest first."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


async def schema_version(database: Database) -> SchemaVersion:
    with failures_named():
        async with database.engine.connect() as connection:
            return await version_of(connection)


async def version_of(connection: AsyncConnection) -> SchemaVersion:
    """The same within a transaction."""
    return SchemaVersion(await connection.run_sync(_current), revisions()[-1])


async def require_schema(database: Database) -> None:
    """Raise Misconfigured unless the database has our schema."""
    version = await schema_version(database)
    if version.is_behind:
        raise Misconfigured(
            "schema_missing",
            f"the database is at schema version {version.current or 'none'}, this program needs "
            f"{version.newest}: run `redemptions db upgrade`",
        )


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
