"""Bringing a database up to our schema."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from events.failures import Unavailable
from storage import schema_version
from storage.database import Database
from storage.errors import failures_named
from storage.schema_version import SchemaVersion, version_of

UPGRADE_LOCK = 7_266_330_001
"""A number of ours for PostgreSQL's advisory lock: two upgrades at once must not meet."""
LOCK_SECONDS = 3
TRIES = 40
MET_WORKERS = ("40P01", "55P03")
"""SQLSTATEs: a deadlock, and a lock that was not free in time."""


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
            before = await version_of(connection)
            await connection.run_sync(_upgrade)
    return before


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(schema_version.MIGRATIONS).replace("%", "%%"))
    return config
