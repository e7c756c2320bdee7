"""What a database error means, by SQLSTATE and SQLite code: an outage, our own fault, or that of the data."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from events.failures import DatabaseUnavailable, Failure, Misconfigured, Unavailable

OUTAGES = ("08", "40", "53", "55P03", "57", "58", "25P03", "25006", "XX")
"""Connection, rollback by the server, resources, locks, operator, system. 25P03: we were frozen inside a
transaction; 25006: we reached a standby after a failover; XX: the server's own trouble."""
OURS = ("28", "3D", "3F", "42")
"""Authorization, no such database or schema, no such table or a wrong statement."""
KINDS = {"22": DataError, "23": IntegrityError, "42": ProgrammingError}
"""What SQLAlchemy calls the data's and the statement's faults, by how their SQLSTATE begins."""
SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
SQLITE_OURS = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOTADB,
}
SQLITE_STATEMENT_FAULTS = ("no such table", "no such column", "syntax error", "has no column named")


def failure_of(error: BaseException) -> Failure | None:
    """Unavailable or Misconfigured if the database is to blame, None if the data or the calling code is.

    An outage rolls back and tries the same batch again; what is None isolates the one event.
    """
    if isinstance(error, Failure):
        return error if isinstance(error, (Unavailable, Misconfigured)) else None
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable("database_busy", "no database connection became free in time")
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, sqlite3.Error):
            return _sqlite_failure(cause)
        if isinstance(cause, asyncpg.InvalidCachedStatementError):
            # Its SQLSTATE is that of something else. The driver has forgotten the statement by now.
            return DatabaseUnavailable(
                "database_changed", "a table has changed since its statement was prepared"
            )
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str):
            return _postgresql_failure(state, str(cause))
    return next((failure for cause in causes if (failure := _connection_failure(cause))), None)


def fault_of(error: Exception, sql: str) -> Exception:
    """What to raise for an error that a driver's statement raised: the Failure that it means, or else what
    SQLAlchemy's connection would raise, without the parameters."""
    if failure := failure_of(error):
        return failure
    state = str(getattr(error, "sqlstate", None))
    if isinstance(error, sqlite3.Error):
        fault: Exception = DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True)
    elif isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError)):
        kind = next((kind for begin, kind in KINDS.items() if state.startswith(begin)), DBAPIError)
        fault = kind(sql, None, error, hide_parameters=True)
    else:
        fault = error
    return fault


@contextmanager
def failures_named() -> Iterator[None]:
    """Raise database errors as the Failure they mean; let the data's and the code's own faults through."""
    try:
        yield
    except Exception as error:
        failure = failure_of(error)
        if failure is None or failure is error:
            raise
        raise failure from error


def name_failures(engine: Engine) -> None:
    """Have each statement raise its Failure itself, so that a handler's own OSError or TimeoutError is not
    taken for the database's."""

    @event.listens_for(engine, "handle_error")
    def named(context: ExceptionContext) -> BaseException | None:
        return failure_of(context.original_exception)


def _connection_failure(error: BaseException) -> Failure | None:
    """What has no SQLSTATE, as no server said it."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return Misconfigured("database_url", f"the database URL cannot be used: {_first_line(str(error))}")
    # asyncpg's InterfaceError: the connection was closed under us. Its DataError, a ValueError as well, is a
    # parameter it cannot encode: the data's fault. OSError includes TimeoutError: the server went silent.
    ours = isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError))
    if isinstance(error, OSError) or (ours and not isinstance(error, ValueError)):
        return DatabaseUnavailable(
            "database_unavailable", f"{type(error).__name__}: {_first_line(str(error))}"
        )
    return None


def _postgresql_failure(state: str, message: str) -> Failure | None:
    if state.startswith(OUTAGES):
        return DatabaseUnavailable("database_unavailable", f"{_first_line(message)} (SQLSTATE {state})")
    if state.startswith("42P01"):
        return Misconfigured(
            "schema_missing", "the database has no schema of ours: run `redemptions db upgrade`"
        )
    if state.startswith(OURS):
        return Misconfigured("database_refused", f"{_first_line(message)} (SQLSTATE {state})")
    return None


def _sqlite_failure(error: sqlite3.Error) -> Failure | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    message = str(error)
    if code in SQLITE_OUTAGES:
        return DatabaseUnavailable("database_unavailable", f"SQLite: {message}")
    if code in SQLITE_OURS:
        return Misconfigured("database_refused", f"SQLite: {message}")
    if message.startswith("no such table"):
        return Misconfigured(
            "schema_missing", "the database has no schema of ours: run `redemptions db upgrade`"
        )
    if code == sqlite3.SQLITE_ERROR and any(fault in message for fault in SQLITE_STATEMENT_FAULTS):
        return Misconfigured("database_refused", f"SQLite: {message}")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: SQLAlchemy's has the driver's in `orig`, that has its own as its cause."""
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop(0)
        if current is None or current in seen:
            continue
        seen.append(current)
        yield current
        pending += [getattr(current, "orig", None), current.__cause__]


def _first_line(message: str) -> str:
    """Without DETAIL and statement, which may quote the data."""
    return message.splitlines()[0] if message else "no message"
