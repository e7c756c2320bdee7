"""Every table, as SQLAlchemy Core. Times are integer milliseconds since 1970 by the database's clock.

Handlers and tenants are small integers (table `names`), kinds and states too: the key columns of millions of
rows stay narrow. Text keys compare bytewise (COLLATE "C"), so that Python, SQLite and PostgreSQL sort alike,
which the lock order needs.
"""

from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

from events.event import Kind

Key = Text().with_variant(Text(collation="C"), "postgresql")
metadata = MetaData()


class State(IntEnum):
    """The state of an effect."""

    DONE = 0
    PENDING = 1
    DEAD = 2
    SKIPPED = 3
    DISCARDED = 4


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

positions = Table(
    "positions",
    metadata,
    Column("consumer_group", Key, primary_key=True),
    Column("topic", Key, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)
"""Where each group stands: the outcome of every record before `next_offset` is in this database."""

facts = Table(
    "facts",
    metadata,
    Column("tenant", SmallInteger, autoincrement=False),
    Column("redemption_id", Key),
    Column("order_key", Key),
    Column("order_id", Key),
    Column("parent_id", Key),
    Column("customer_id", Key),
    Column("amount", BigInteger),
    Column("total_amount", BigInteger),
    Column("total_discount_amount", BigInteger),
    Column("voucher_type", Text),
    Column("channel_type", Text),
    Column("order_status", Text),
    Column("date", BigInteger),
    Column("has_voucher", Boolean, nullable=False),
    Column("has_tier", Boolean, nullable=False),
    Column("has_reward", Boolean, nullable=False),
    Column("succeeded", Boolean, nullable=False),
    Column("reversed", Boolean, nullable=False),
    Column("conflicts", Integer, nullable=False),
    Column("details", Text),
    # Tenant comes last, in indexes too: SQLite, having no statistics, would at times search by it alone.
    PrimaryKeyConstraint("redemption_id", "tenant"),
    sqlite_with_rowid=False,
)
"""What is known of each redemption, merged over all deliveries; the loyalty ledger's own mark.

A row with neither `succeeded` nor `reversed` is a placeholder for a stack parent that a child named.
`order_key` is derived from the rest, and absent until a success told of an order; `conflicts` has a bit for
each field of which deliveries told different values; `details` holds what else the policy asks for, as JSON.
"""
Index("facts_order", facts.c.order_key, facts.c.tenant)
Index(
    "facts_parent",
    facts.c.parent_id,
    facts.c.tenant,
    postgresql_where=text("parent_id IS NOT NULL"),
    sqlite_where=text("parent_id IS NOT NULL"),
)

orders = Table(
    "orders",
    metadata,
    Column("tenant", SmallInteger, primary_key=True, autoincrement=False),
    Column("order_key", Key, primary_key=True),
    Column("customer_id", Key),
    Column("points", BigInteger, nullable=False),
    Column("redemption_id", Key),
    Column("anonymous", Boolean, nullable=False),
    Column("others", Text),
    Column("revision", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""What has been posted for each order: `points` on the account of `customer_id` because of the deciding
`redemption_id`, by entries up to `revision`. `anonymous`: something counts, but nobody is known to own it.
`others`: what further accounts have been given, as JSON.
"""
Index(
    "orders_anonymous",
    orders.c.tenant,
    orders.c.order_key,
    postgresql_where=text("anonymous"),
    sqlite_where=text("anonymous"),
)

entries = Table(
    "entries",
    metadata,
    Column("tenant", SmallInteger, autoincrement=False),
    Column("key", Key),
    Column("customer_id", Key, nullable=False),
    Column("order_key", Key),
    Column("redemption_id", Key),
    Column("kind", SmallInteger, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("policy", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    PrimaryKeyConstraint("key", "tenant"),
    sqlite_with_rowid=False,
)
"""Append-only: never edited, never deleted. One made by hand belongs to no order."""
Index("entries_customer", entries.c.customer_id, entries.c.tenant)

balances = Table(
    "balances",
    metadata,
    Column("tenant", SmallInteger, primary_key=True, autoincrement=False),
    Column("customer_id", Key, primary_key=True),
    Column("points", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The sum of each customer's entries, kept beside them."""

audit = Table(
    "audit",
    metadata,
    Column("key", Key, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("tenant", Key),
    Column("subject", Key),
    Column("reason", Text),
    Column("content", Text, nullable=False),
    Column("result_of", Key),
)
"""What operators do, a row before it is done and another, `result_of` the first, once it has ended; `content`
is JSON. Append-only."""
Index("audit_at", audit.c.at)

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

policies = Table(
    "policies",
    metadata,
    Column("fingerprint", Key, primary_key=True),
    Column("document", Text, nullable=False),
    Column("admitted_at", BigInteger, nullable=False),
)
"""Every points policy that was in force, the latest by `admitted_at`, as JSON."""

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

decoded_outlines = Table(
    "decoded_outlines",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("outline", Key, primary_key=True),
)
"""Which of the objects that we read were in bodies that were decoded well once (storage.outlines)."""

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

notification_calls = Table(
    "notification_calls",
    metadata,
    Column("tenant", SmallInteger, primary_key=True, autoincrement=False),
    Column("subject", Key, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("call", Key, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("redemption_id", Key),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("customer_id", Key),
    Column("channel", Key),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Messages that need more memory than their effect's row (handlers.notifications.calls). `subject` is a
redemption, or a stack that is told as one; `call` names channel and template."""
Index(
    "notification_calls_customer",
    notification_calls.c.customer_id,
    notification_calls.c.channel,
    notification_calls.c.at,
    postgresql_where=text("customer_id IS NOT NULL"),
    sqlite_where=text("customer_id IS NOT NULL"),
)

erasures = Table(
    "erasures",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("customer_id", Key, primary_key=True),
    Column("erased_at", BigInteger, nullable=False),
)
"""Customers whose personal data was erased: none from before that moment may come back (storage.erasures)."""
