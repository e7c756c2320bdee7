"""The loyalty ledger: facts, what was posted for them, and by which policy."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

from storage.schema.columns import Key, metadata

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
)
"""What is known of each redemption, merged over all deliveries; the loyalty ledger's own mark.

A row with neither `succeeded` nor `reversed` is a placeholder for a stack parent that a child named.
`order_key` is derived from the rest, and absent until a success told of an order; `conflicts` has a bit for
each field of which deliveries told different values; `details` holds what else the policy asks for, as JSON.

In SQLite it has a rowid, as entries have: rows of some hundred bytes come at random keys, and without one
each would change a page of the table of its own.
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

policies = Table(
    "policies",
    metadata,
    Column("fingerprint", Key, primary_key=True),
    Column("document", Text, nullable=False),
    Column("admitted_at", BigInteger, nullable=False),
)
"""Every points policy that was in force, the latest by `admitted_at`, as JSON."""
