"""Where groups stand in the log, and what was met there."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from storage.schema.columns import Key, metadata

positions = Table(
    "positions",
    metadata,
    Column("consumer_group", Key, primary_key=True),
    Column("topic", Key, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)
"""Where each group stands: the outcome of every record before `next_offset` is in this database."""

backfills = Table(
    "backfills",
    metadata,
    Column("consumer_group", Key, primary_key=True),
    Column("topic", Key, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("first_offset", BigInteger, nullable=False),
    Column("end_offset", BigInteger, nullable=False),
)
"""From where and how far the backfills go that are under way; `positions` says how far they are."""

decoded_outlines = Table(
    "decoded_outlines",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("outline", Key, primary_key=True),
)
"""Which of the objects that we read were in bodies that were decoded well once (storage.outlines)."""

drift = Table(
    "drift",
    metadata,
    Column("kind", Key, primary_key=True),
    Column("place", Key, primary_key=True),
    Column("seen", Key, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("structure", Text, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
)
"""What was delivered beyond the documented contract, an example of each: where, and its structure as JSON."""
