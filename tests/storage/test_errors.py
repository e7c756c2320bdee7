"""What each class of database error means: waited for, our own fault, or the fault of the data."""

import sqlite3

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from events.failures import DatabaseUnavailable, Failure, Misconfigured, Refused
from storage.errors import failure_of


def wrapped(error: Exception) -> DBAPIError:
    """As SQLAlchemy hands on what a driver raised."""
    return DBAPIError("SELECT secret", {"secret": "anna"}, error)


def postgresql(state: str) -> Exception:
    return wrapped(asyncpg.PostgresError.new({"C": state, "M": "trouble\nDETAIL: Key (id)=(anna)"}))


def sqlite(code: int, message: str = "trouble") -> Exception:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return wrapped(error)


@pytest.mark.parametrize(
    "state",
    [
        *("08000", "08003", "08006", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03"),
        *("58000", "58030", "25P03", "25006", "XX000"),
    ],
)
def test_an_outage_is_waited_for(state: str) -> None:
    failure = failure_of(postgresql(state))
    assert isinstance(failure, DatabaseUnavailable)
    assert state in str(failure)
    assert "anna" not in str(failure)


@pytest.mark.parametrize("state", ["22001", "22003", "22021", "22P05", "23502", "23503", "23505", "54000"])
def test_what_the_data_breaks_is_the_events_fault(state: str) -> None:
    assert failure_of(postgresql(state)) is None


@pytest.mark.parametrize("state", ["28000", "28P01", "3D000", "3F000", "42501", "42601", "42703"])
def test_what_we_got_wrong_stops_the_intake(state: str) -> None:
    assert isinstance(failure_of(postgresql(state)), Misconfigured)


def test_a_missing_table_says_what_to_run() -> None:
    for error in (postgresql("42P01"), sqlite(sqlite3.SQLITE_ERROR, "no such table: effects")):
        failure = failure_of(error)
        assert isinstance(failure, Misconfigured)
        assert "redemptions db upgrade" in str(failure)


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_CANTOPEN,
    ],
)
def test_an_outage_of_sqlite_is_waited_for(code: int) -> None:
    assert isinstance(failure_of(sqlite(code)), DatabaseUnavailable)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, "UNIQUE constraint failed"),
        (sqlite3.SQLITE_TOOBIG, "string or blob too big"),
        (sqlite3.SQLITE_ERROR, "malformed JSON"),
        (sqlite3.SQLITE_ERROR, "integer overflow"),
    ],
)
def test_what_the_data_breaks_in_sqlite_is_the_events_fault(code: int, message: str) -> None:
    assert failure_of(sqlite(code, message)) is None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
        (sqlite3.SQLITE_CORRUPT, "database disk image is malformed"),
        (sqlite3.SQLITE_ERROR, "no such column: points"),
        (sqlite3.SQLITE_ERROR, 'near "SELEC": syntax error'),
    ],
)
def test_what_we_got_wrong_with_sqlite_stops_the_intake(code: int, message: str) -> None:
    assert isinstance(failure_of(sqlite(code, message)), Misconfigured)


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (PoolTimeout("QueuePool limit"), DatabaseUnavailable),
        (ConnectionRefusedError("refused"), DatabaseUnavailable),
        (TimeoutError(), DatabaseUnavailable),
        (wrapped(asyncpg.InterfaceError("connection is closed")), DatabaseUnavailable),
        (asyncpg.TargetServerAttributeNotMatched("no primary among the hosts"), DatabaseUnavailable),
        (asyncpg.ClientConfigurationError("`sslmode` parameter must be one of: disable"), Misconfigured),
        (wrapped(asyncpg.DataError("invalid input for query argument $1")), None),
        (wrapped(OverflowError("int too large to convert to SQLite INTEGER")), None),
        (ValueError("a handler's own"), None),
        (Refused("rule", "a handler's own"), None),
    ],
)
def test_errors_without_a_code_are_told_apart(error: Exception, fate: type[Failure] | None) -> None:
    assert type(failure_of(error)) is (type(None) if fate is None else fate)


def test_a_failure_that_is_named_already_stays_itself() -> None:
    failure = DatabaseUnavailable("x", "y")
    assert failure_of(failure) is failure
