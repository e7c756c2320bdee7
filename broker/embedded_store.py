"""Owns the file log.db: its tables, how it is opened, and what SQLite's errors mean."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.failures import Failure, Misconfigured, Unavailable

APPLICATION_ID = 0x52444C47
VERSION = 1
BUSY_SECONDS = 5.0

# A record's id is its partition's slot and its offset in one number: the rows of a partition lie side by
# side in order, and appending touches one b-tree and no index.
SCHEMA = """
CREATE TABLE partitions (
    slot INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    start INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, partition));
CREATE TABLE records (
    id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, key BLOB, value BLOB NOT NULL, headers BLOB NOT NULL);
CREATE TABLE members (name TEXT, topic TEXT, PRIMARY KEY (name, topic)) WITHOUT ROWID;
CREATE TABLE offsets (
    name TEXT, slot INTEGER, offset INTEGER NOT NULL, PRIMARY KEY (name, slot)) WITHOUT ROWID;
"""

WAIT_FOR = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}


def failure_of(error: Exception, path: Path) -> Failure:
    """What an error means: full and busy disks are waited for, a wrong file or place is ours to mend."""
    if isinstance(error, Failure):
        return error
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in WAIT_FOR:
        return Unavailable("log_unavailable", f"The log {path} does not take it at this moment: {error}")
    return Misconfigured("log_unusable", f"Cannot use {path} as the log: {error}")


def open_store(path: Path) -> sqlite3.Connection:
    """A connection of the calling thread to the log, made if it is not there.

    Raises sqlite3.Error, OSError, or Misconfigured when the file is something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _use_wal(connection)
        # In WAL mode NORMAL would leave the last commits to the operating system: a power cut loses them.
        connection.execute("PRAGMA synchronous=FULL")
        _create_tables(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # Two processes that start on a new file: SQLite does not wait for this one lock by itself.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _create_tables(connection: sqlite3.Connection, path: Path) -> None:
    # Looked at first without the lock: who only reads must not wait for who writes.
    if _is_empty(connection):
        with transaction(connection):
            if _is_empty(connection):
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={VERSION}")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) != (APPLICATION_ID, VERSION):
        raise Misconfigured("log_unusable", f"Cannot use {path} as the log: it is another program's database")


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Takes the write lock at once: a transaction that read first could not be repeated by SQLite itself."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled it back already
            connection.execute("ROLLBACK")
        raise
