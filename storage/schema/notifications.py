"""Calls of notifications."""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, text

from storage.schema.columns import Key, metadata

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
