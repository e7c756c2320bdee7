"""The first schema"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TUNING = """
ALTER TABLE effects SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE balances SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE payloads SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE bundles ALTER COLUMN records SET STORAGE EXTERNAL;
ALTER TABLE bundles SET (autovacuum_vacuum_threshold = 20, toast.autovacuum_vacuum_threshold = 5000);
ALTER TABLE positions SET (fillfactor = 50)
"""
"""Rows that change often get room to change in place, and are vacuumed before millions of them are dead."""


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("key", KEY, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("tenant", KEY, nullable=True),
        sa.Column("subject", KEY, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("result_of", KEY, nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("audit_at", "audit", ["at"], unique=False)
    op.create_table(
        "backfills",
        sa.Column("consumer_group", KEY, nullable=False),
        sa.Column("topic", KEY, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("end_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "topic", "partition"),
    )
    op.create_table(
        "balances",
        sa.Column("tenant", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("customer_id", KEY, nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "breakers",
        sa.Column("dependency", KEY, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=True),
        sa.Column("probe_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("dependency"),
    )
    op.create_table(
        "bundles",
        sa.Column("id", KEY, nullable=False),
        sa.Column("effects", sa.Integer(), nullable=False),
        sa.Column("records", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", KEY, nullable=False),
        sa.Column("consumer_group", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("redemption_id", KEY, nullable=True),
        sa.Column("customer_id", KEY, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("replays", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=True),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    for name, columns in {
        "dead_letters_seen": ["first_seen", "id"],
        "dead_letters_state": ["state", "first_seen", "id"],
        "dead_letters_fingerprint": ["fingerprint", "first_seen", "id"],
        "dead_letters_redemption": ["redemption_id"],
        "dead_letters_customer": ["customer_id"],
    }.items():
        op.create_index(name, "dead_letters", columns, unique=False)
    op.create_table(
        "letter_history",
        sa.Column("letter", KEY, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("job", KEY, nullable=True),
        sa.PrimaryKeyConstraint("letter", "generation", "event"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "jobs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("leased_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "jobs_not_ended",
        "jobs",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
        sqlite_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "job_items",
        sa.Column("job", KEY, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("letter", KEY, nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "decoded_outlines",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("outline", KEY, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "outline"),
    )
    op.create_table(
        "effects",
        sa.Column("tenant", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("redemption_id", KEY, nullable=False),
        sa.Column("handler", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("leased_until", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("dependency", sa.SmallInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=True),
        sa.Column("bundle", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "redemption_id", "handler", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "effects_dead",
        "effects",
        ["handler", "redemption_id"],
        unique=False,
        postgresql_where=sa.text("state = 2"),
        sqlite_where=sa.text("state = 2"),
    )
    op.create_index(
        "effects_due",
        "effects",
        ["handler", "dependency", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 1"),
        sqlite_where=sa.text("state = 1"),
    )
    op.create_table(
        "entries",
        sa.Column("tenant", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("customer_id", KEY, nullable=False),
        sa.Column("order_key", KEY, nullable=True),
        sa.Column("redemption_id", KEY, nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", "tenant"),
    )
    op.create_index("entries_customer", "entries", ["customer_id", "tenant"], unique=False)
    op.create_table(
        "erasures",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("customer_id", KEY, nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id"),
    )
    op.create_table(
        "facts",
        sa.Column("tenant", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("redemption_id", KEY, nullable=False),
        sa.Column("order_key", KEY, nullable=True),
        sa.Column("order_id", KEY, nullable=True),
        sa.Column("parent_id", KEY, nullable=True),
        sa.Column("customer_id", KEY, nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("total_amount", sa.BigInteger(), nullable=True),
        sa.Column("total_discount_amount", sa.BigInteger(), nullable=True),
        sa.Column("voucher_type", sa.Text(), nullable=True),
        sa.Column("channel_type", sa.Text(), nullable=True),
        sa.Column("order_status", sa.Text(), nullable=True),
        sa.Column("date", sa.BigInteger(), nullable=True),
        sa.Column("has_voucher", sa.Boolean(), nullable=False),
        sa.Column("has_tier", sa.Boolean(), nullable=False),
        sa.Column("has_reward", sa.Boolean(), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("reversed", sa.Boolean(), nullable=False),
        sa.Column("conflicts", sa.Integer(), nullable=False),
        sa.Column("details", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("redemption_id", "tenant"),
    )
    op.create_index("facts_order", "facts", ["order_key", "tenant"], unique=False)
    op.create_index(
        "facts_parent",
        "facts",
        ["parent_id", "tenant"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
        sqlite_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_table(
        "handler_states",
        sa.Column("handler", KEY, nullable=False),
        sa.Column("standing", sa.SmallInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("allowance", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("handler"),
    )
    op.create_table(
        "names",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "notification_calls",
        sa.Column("tenant", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("call", KEY, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("redemption_id", KEY, nullable=True),
        sa.Column("generation", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("customer_id", KEY, nullable=True),
        sa.Column("channel", KEY, nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject", "kind", "call"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "notification_calls_customer",
        "notification_calls",
        ["customer_id", "channel", "at"],
        unique=False,
        postgresql_where=sa.text("customer_id IS NOT NULL"),
        sqlite_where=sa.text("customer_id IS NOT NULL"),
    )
    op.create_table(
        "orders",
        sa.Column("tenant", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("order_key", KEY, nullable=False),
        sa.Column("customer_id", KEY, nullable=True),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("redemption_id", KEY, nullable=True),
        sa.Column("anonymous", sa.Boolean(), nullable=False),
        sa.Column("others", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "order_key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "orders_anonymous",
        "orders",
        ["tenant", "order_key"],
        unique=False,
        postgresql_where=sa.text("anonymous"),
        sqlite_where=sa.text("anonymous"),
    )
    op.create_table(
        "outages",
        sa.Column("dependency", KEY, nullable=False),
        sa.Column("opened_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dependency", "opened_at"),
    )
    op.create_table(
        "payloads",
        sa.Column("tenant", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("redemption_id", KEY, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "redemption_id", "kind"),
    )
    op.create_table(
        "drift",
        sa.Column("kind", KEY, nullable=False),
        sa.Column("place", KEY, nullable=False),
        sa.Column("seen", KEY, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "place", "seen"),
    )
    op.create_table(
        "policies",
        sa.Column("fingerprint", KEY, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("admitted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint"),
    )
    op.create_table(
        "positions",
        sa.Column("consumer_group", KEY, nullable=False),
        sa.Column("topic", KEY, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "topic", "partition"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for statement in TUNING.split(";"):
            op.execute(statement)
