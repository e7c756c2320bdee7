"""The schema's versions: bringing a database up to ours, and refusing to work on an older one."""

from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from events.failures import Misconfigured, Unavailable
from storage.database import Database
from storage.errors import failures_named

MIGRATIONS = Path(__file__).parent / "migrations"
UPGRADE_LOCK = 7_266_330_001
"""A number of ours for PostgreSQL's advisory lock: two upgrades at once must not meet."""
LOCK_SECONDS = 3
TRIES = 40
MET_WORKERS = ("40P01", "55P03")
"""SQLSTATEs: a deadlock, and a lock that was not free in time."""


class SchemaVersion(NamedTuple):
    """The database's revision (None: empty) and the newest one this program knows."""

    current: str | None
    newest: str

    @property
    def is_behind(self) -> bool:
        """A revision we do not know is a newer one: migrations only add, so an old worker may go on during
        a rolling upgrade."""
        known = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]
        return self.current is None or (self.current != self.newest and self.current in known)


async def upgrade(database: Database) -> SchemaVersion:
    """Apply what is missing, in one transaction; returns the version there was before.

    Workers may be at work: a migration that meets them head-on begins anew, and one that waits for a table
    lets them go on meanwhile. Raises Unavailable when it never got through.
    """
    tries = TRIES
    while True:
        try:
            return await _upgrade_once(database)
        except Unavailable as error:
            tries -= 1
            if not tries or not any(state in str(error) for state in MET_WORKERS):
                raise


async def _upgrade_once(database: Database) -> SchemaVersion:
    with failures_named():
        async with database.engine.begin() as connection:
            if database.dialect == "postgresql":
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
                await connection.execute(text("SET LOCAL lock_timeout = 0"))
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})"))
                # Whoever waits for a table holds up all who come after it.
                await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            before = await _version(connection)
            await connection.run_sync(_upgrade)
    return before


async def schema_version(database: Database) -> SchemaVersion:
    with failures_named():
        async with database.engine.connect() as connection:
            return await _version(connection)


async def require_schema(database: Database) -> None:
    """Raise Misconfigured unless the database has our schema."""
    version = await schema_version(database)
    if version.is_behind:
        raise Misconfigured(
            "schema_missing",
            f"the database is at schema version {version.current or 'none'}, this program needs "
            f"{version.newest}: run `redemptions db upgrade`",
        )


async def _version(connection: AsyncConnection) -> SchemaVersion:
    def current(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None  # the package holds its migrations
    return SchemaVersion(await connection.run_sync(current), newest)


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
