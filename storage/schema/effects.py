"""Effects and what they wait for: records, breakers, the standing of handlers."""

from enum import IntEnum

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, text

from events.event import Kind
from storage.schema.columns import Key, metadata


class State(IntEnum):
    """The state of an effect."""

    DONE = 0
    PENDING = 1
    DEAD = 2
    SKIPPED = 3
    DISCARDED = 4


KIND_NUMBERS = {Kind.SUCCEEDED: 0, Kind.ROLLED_BACK: 1, Kind.FAILED: 2}
KINDS = {number: kind.value for kind, number in KIND_NUMBERS.items()}
LETTER_KIND = 9
"""The kind of the effect that puts a dead letter on its topic: its `redemption_id` is the letter's id."""
KINDS[LETTER_KIND] = "dead-letter"

names = Table(
    "names",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Key, nullable=False, unique=True),
)

effects = Table(
    "effects",
    metadata,
    Column("tenant", SmallInteger, primary_key=True, autoincrement=False),
    Column("redemption_id", Key, primary_key=True),
    Column("handler", SmallInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", BigInteger),
    Column("leased_until", BigInteger),
    Column("lease_owner", Text),
    Column("lease_number", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    Column("dependency", SmallInteger),
    Column("created_at", BigInteger),
    Column("bundle", Text),
    sqlite_with_rowid=False,
)
"""Of pending rows: `dependency` is the name of what the call depends on, `created_at` when the effect came to
be, `bundle` the one that holds its record; no bundle: the record is in `payloads`."""
# Claiming looks only at pending rows, however many millions are done, and passes over those whose dependency
# is away, however many of them wait.
Index(
    "effects_due",
    effects.c.handler,
    effects.c.dependency,
    effects.c.due_at,
    postgresql_where=text(f"state = {State.PENDING}"),
    sqlite_where=text(f"state = {State.PENDING}"),
)
Index(
    "effects_dead",
    effects.c.handler,
    effects.c.redemption_id,
    postgresql_where=text(f"state = {State.DEAD}"),
    sqlite_where=text(f"state = {State.DEAD}"),
)

payloads = Table(
    "payloads",
    metadata,
    Column("tenant", SmallInteger, primary_key=True, autoincrement=False),
    Column("redemption_id", Key, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary, nullable=False),
    Column("headers", LargeBinary, nullable=False),
)
"""The raw record behind effects that wait long, one per event; deleted when its last effect settles."""

bundles = Table(
    "bundles",
    metadata,
    Column("id", Key, primary_key=True),
    Column("effects", Integer, nullable=False),
    Column("records", LargeBinary, nullable=False),
)
"""The raw records behind the pending effects of one batch, packed together (storage.bundles): a row for each
would cost as much as all the rest. `effects`: how many still need it; deleted when none does."""

breakers = Table(
    "breakers",
    metadata,
    Column("dependency", Key, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failing_since", BigInteger),
    Column("answered_at", BigInteger),
    Column("opened_at", BigInteger),
    Column("probe_at", BigInteger),
)
"""How the last calls to each dependency of effect handlers went (storage.breakers)."""

outages = Table(
    "outages",
    metadata,
    Column("dependency", Key, primary_key=True),
    Column("opened_at", BigInteger, primary_key=True, autoincrement=False),
    Column("closed_at", BigInteger, nullable=False),
)
"""When breakers were open: time in which effects do not age."""

handler_states = Table(
    "handler_states",
    metadata,
    Column("handler", Key, primary_key=True),
    Column("standing", SmallInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("allowance", BigInteger, nullable=False),
)
"""Handlers that were paused, halted or resumed (storage.handler_states); all others run."""
