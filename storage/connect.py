"""Opening the database: drivers, pools, pragmas and time-outs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from events.failures import Misconfigured
from events.runtime import Runtime
from storage.database import Database, DriverOf
from storage.driver import Driver
from storage.errors import name_failures
from storage.postgresql_driver import PostgresqlDriver
from storage.sqlite_connection import opened
from storage.sqlite_driver import SqliteDriver

CONNECT_SECONDS = 10
COMMAND_SECONDS = 45
"""Longer than statement_timeout: only a server that went silent reaches it."""
POSTGRESQL_SETTINGS = {
    "application_name": "redemptions",
    "synchronous_commit": "on",
    "jit": "off",
    # A frozen or cut-off worker must not hold its locks, and so everybody else up, for longer than these.
    "idle_in_transaction_session_timeout": "15s",
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
# hide_parameters: errors are logged and stored in dead letters, and parameters are customers' data.
# LIFO: a connection keeps pages and prepared statements, of use to whoever takes the same one again. Taken in
# turn, all eight would keep them.
ENGINE = {
    "pool_size": 8,
    "max_overflow": 0,
    "pool_timeout": 30,
    "pool_use_lifo": True,
    "hide_parameters": True,
}
SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA cache_size = -8192",
    "PRAGMA temp_store = MEMORY",
    # 64 MiB: a page that many batches change is copied into the database once, not after each of them.
    "PRAGMA wal_autocheckpoint = 16384",
)
PREPARED_STATEMENTS = 512
"""Each set-based statement comes in a dozen sizes (storage.rows)."""


def connect(
    url: str, runtime: Runtime, *, patient: bool = False, renewed: Callable[[], str] | None = None
) -> Database:
    """`sqlite:///path` or `postgresql://…` in any libpq form. Opens no connection yet.

    `patient`: a snapshot may take its time, as a look at ten million rows does, or a person who reads along.
    `renewed`: asked for the URL before each connection to PostgreSQL, so that a password may be rotated.
    """
    driver_of: DriverOf
    if url.startswith("sqlite:///"):
        engine, driver_of = _sqlite_engine(url.removeprefix("sqlite:///"), runtime), _sqlite_driver
    elif url.startswith(("postgresql://", "postgres://")):
        engine = _postgresql_engine(renewed or (lambda: url), None if patient else COMMAND_SECONDS)
        driver_of = _postgresql_driver
    else:
        raise Misconfigured("database_url", "the database URL must begin with sqlite:/// or postgresql://")
    name_failures(engine.sync_engine)
    return Database(engine, driver_of, patient=patient)


def _sqlite_driver(connection: AsyncConnection) -> Driver:
    return SqliteDriver(_below(connection).answer)


def _postgresql_driver(connection: AsyncConnection) -> Driver:
    return PostgresqlDriver(_below(connection))


def _below(connection: AsyncConnection) -> Any:
    assert connection.sync_connection is not None
    return connection.sync_connection.connection.driver_connection


def _postgresql_engine(dsn: Callable[[], str], command_seconds: float | None) -> AsyncEngine:
    async def connected() -> Any:
        # The DSN goes to the driver as it is: sockets, sslmode, several hosts are its business.
        return await asyncpg.connect(
            dsn(),
            server_settings=POSTGRESQL_SETTINGS,
            timeout=CONNECT_SECONDS,
            command_timeout=command_seconds,
        )

    return create_async_engine(
        "postgresql+asyncpg://", async_creator=connected, isolation_level="READ COMMITTED", **ENGINE
    )


def _sqlite_engine(path: str, runtime: Runtime) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", async_creator=partial(opened, path, PREPARED_STATEMENTS), **ENGINE
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.create_function("now_ms", 0, lambda: int(runtime.now() * 1000))
        cursor = connection.cursor()
        for pragma in SQLITE_PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE: a transaction that first reads and then writes could otherwise fail half-way with BUSY.
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE"))

    return engine
