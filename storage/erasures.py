"""Tombstones of erased customers: whose data from before which moment must not come back.

The customer's id stands in them as it stands in the ledger, which keeps ids and numbers: a hash of it would
hide nothing, and nobody could tell any more for whom it is.
"""

from collections.abc import Iterable

from storage.database import Transaction
from storage.rows import Rows

ERASURE_LOCK = 7_266_330_002
"""A number of ours for PostgreSQL's advisory locks."""

Customer = tuple[str, str]
"""Tenant and customer id."""


async def erasures_of(transaction: Transaction, customers: Iterable[Customer]) -> dict[Customer, int]:
    """When each of these was erased, those that were, in milliseconds since 1970."""
    rows = await transaction.run(
        "SELECT e.tenant, e.customer_id, e.erased_at FROM {rows} CROSS JOIN erasures e "
        "WHERE e.tenant = r.tenant AND e.customer_id = r.customer_id",
        Rows({"tenant": "text", "customer_id": "text"}, sorted(set(customers))),
    )
    return {(row.tenant, row.customer_id): row.erased_at for row in rows}


async def any_erasure(transaction: Transaction) -> bool:
    """Whether anybody was erased. Until this transaction ends nobody else is."""
    if transaction.dialect == "postgresql":
        # A statement of its own: the next one sees what the lock has waited for.
        await transaction.run(f"SELECT pg_advisory_xact_lock_shared({ERASURE_LOCK})")
    rows = await transaction.run("SELECT EXISTS (SELECT 1 FROM erasures) AS found")
    return bool(rows[0].found)


async def put_tombstone(transaction: Transaction, customer: Customer) -> int:
    """Erased from now on; returns the moment. Waits for the batches that began without knowing."""
    if transaction.dialect == "postgresql":
        await transaction.run(f"SELECT pg_advisory_xact_lock({ERASURE_LOCK})")
    rows = await transaction.run(
        "INSERT INTO erasures (tenant, customer_id, erased_at) VALUES (:tenant, :customer, {now}) "
        "ON CONFLICT (tenant, customer_id) DO UPDATE SET erased_at = excluded.erased_at RETURNING erased_at",
        tenant=customer[0],
        customer=customer[1],
    )
    moment: int = rows[0].erased_at
    return moment
