"""What operators did, and whom they erased."""

from sqlalchemy import BigInteger, Column, Index, Table, Text

from storage.schema.columns import Key, metadata

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
is JSON. Append-only, but for erasures."""
Index("audit_at", audit.c.at)

erasures = Table(
    "erasures",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("customer_id", Key, primary_key=True),
    Column("erased_at", BigInteger, nullable=False),
)
"""Customers whose personal data was erased: none from before that moment may come back (storage.erasures)."""
