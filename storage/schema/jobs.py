"""Jobs: bulk work on dead letters."""

from enum import IntEnum

from sqlalchemy import BigInteger, Column, Float, Index, Integer, SmallInteger, Table, Text, text

from storage.schema.columns import Key, metadata


class JobKind(IntEnum):
    """What a job does to its letters."""

    REPLAY = 0
    DISCARD = 1


class JobState(IntEnum):
    """Running: somebody works on it, or will."""

    RUNNING = 0
    PAUSED = 1
    DONE = 2
    CANCELLED = 3


class ItemState(IntEnum):
    """What a job did with one letter. Passed over: it was no longer there to be worked on. Too large: the log
    takes no record of its size."""

    WAITING = 0
    REPLAYED = 1
    DISCARDED = 2
    PASSED_OVER = 3
    TOO_LARGE = 4


jobs = Table(
    "jobs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False, server_default=text("0")),
    Column("who", Text, nullable=False),
    Column("reason", Text),
    Column("what", Text, nullable=False),
    Column("rate", Float),
    Column("total", Integer, nullable=False),
    Column("position", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("lease_owner", Text),
    Column("lease_number", Integer, nullable=False, server_default=text("0")),
    Column("leased_until", BigInteger),
)
"""Bulk work on dead letters. `what` is the filter as JSON, `rate` letters a second; items up to `position`
are settled. The lease says who runs it."""
Index(
    "jobs_not_ended",
    jobs.c.created_at,
    postgresql_where=text("ended_at IS NULL"),
    sqlite_where=text("ended_at IS NULL"),
)

job_items = Table(
    "job_items",
    metadata,
    Column("job", Key, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("letter", Key, nullable=False),
    Column("state", SmallInteger, nullable=False, server_default=text("0")),
    Column("generation", Integer, nullable=False),
    Column("at", BigInteger),
    sqlite_with_rowid=False,
)
"""The letters of a job as they were when it was made, and what became of each: `generation` is at first how
often the letter had been replayed, then that of the job's own replay."""
