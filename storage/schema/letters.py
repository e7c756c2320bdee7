"""Dead letters and their history."""

from enum import IntEnum

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, text

from storage.schema.columns import Key, metadata


class LetterState(IntEnum):
    """The state of a dead letter."""

    OPEN = 0
    REPLAYED = 1
    DISCARDED = 2


class LetterEvent(IntEnum):
    """What happens to a dead letter, in the order in which it does within one generation."""

    REPLAYED = 0
    DIED = 1
    DISCARDED = 2


dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Key, primary_key=True),
    Column("consumer_group", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("handler", Text),
    Column("tenant", Text, nullable=False),
    Column("kind", Text),
    Column("redemption_id", Key),
    Column("customer_id", Key),
    Column("reason", Text, nullable=False),
    Column("error_class", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("state", SmallInteger, nullable=False, server_default=text("0")),
    Column("replays", Integer, nullable=False, server_default=text("0")),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("erased_at", BigInteger),
    # Last: to read a column behind a long value, SQLite reads the value.
    Column("key", LargeBinary),
    Column("headers", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
)
# Each in the order in which letters are listed, so that a list of any length is never sorted.
Index("dead_letters_seen", dead_letters.c.first_seen, dead_letters.c.id)
Index("dead_letters_state", dead_letters.c.state, dead_letters.c.first_seen, dead_letters.c.id)
Index("dead_letters_fingerprint", dead_letters.c.fingerprint, dead_letters.c.first_seen, dead_letters.c.id)
Index("dead_letters_redemption", dead_letters.c.redemption_id)
Index("dead_letters_customer", dead_letters.c.customer_id)

letter_history = Table(
    "letter_history",
    metadata,
    Column("letter", Key, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("event", SmallInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text),
    Column("error", Text),
    Column("job", Key),
    sqlite_with_rowid=False,
)
"""What happened to each dead letter: died (with `reason` and `error`), replayed, discarded (by a `job`).
Append-only. Generation 0 is the first death, 1 the first replay and the death that came of it."""
