"""What people ask of the ledger: balances, entries, totals, and the marks that stand for its effects."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct, structs

from events.event import Kind
from handlers.loyalty.posting import ENTRY_KINDS, entry_key_prefix
from storage.database import Transaction
from storage.row import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = 2**62


class ReportedEntry(Struct, frozen=True):
    """An entry as `redemptions ledger entries --json` shows it; `at` is ISO 8601 UTC."""

    key: str
    tenant: str
    customer_id: str
    order_key: str | None
    """None, like `redemption_id`, of an entry made by hand."""
    redemption_id: str | None
    kind: str
    points: int
    at: str


class ExportedEntry(ReportedEntry, frozen=True):
    """An entry with the version and the inputs that it comes from."""

    policy: str
    inputs: dict[str, Any]


class Totals(Struct, frozen=True):
    """The whole ledger, all tenants."""

    customers: int
    entries: int
    points: int


class Mark(Struct, frozen=True):
    """That an event was applied: what other handlers have a row in `effects` for."""

    kind: str
    state: str
    reason: str | None


async def balance(transaction: Transaction, tenant: str, customer: str) -> int:
    """A customer's points; 0 for one nobody knows."""
    rows = await transaction.run(
        "SELECT points FROM balances WHERE tenant = :tenant AND customer_id = :customer",
        tenant=transaction.names.find(tenant),
        customer=customer,
    )
    return rows[0].points if rows else 0


async def entries(
    transaction: Transaction, tenant: str, customer: str | None = None, order: str | None = None
) -> AsyncIterator[ReportedEntry]:
    """A tenant's entries, the oldest first; of one customer, of one order, or all."""
    conditions = ["tenant = :tenant"]
    wanted: dict[str, Any] = {"tenant": transaction.names.find(tenant)}
    if customer is not None:
        conditions.append("customer_id = :customer")
        wanted["customer"] = customer
    if order is not None:
        # The keys of an order's entries lie together: no index of their own is needed to find them.
        conditions.append("order_key = :order AND key > :after AND key < :before")
        prefix = entry_key_prefix(tenant, order)
        wanted |= {"order": order, "after": f"{prefix}:", "before": f"{prefix};"}
    sql = (
        "SELECT key, customer_id, order_key, redemption_id, kind, points, at FROM entries "  # noqa: S608 - ours
        f"WHERE {' AND '.join(conditions)} ORDER BY at, key"
    )
    async for row in transaction.stream(sql, **wanted):
        yield _entry(tenant, row)


async def exported(
    transaction: Transaction, tenant: str, since: int | None, until: int | None
) -> AsyncIterator[ExportedEntry]:
    """A tenant's entries posted at `since` or later and before `until` (milliseconds), the oldest first."""
    sql = (
        "SELECT key, customer_id, order_key, redemption_id, kind, points, at, policy, inputs FROM entries "
        "WHERE tenant = :tenant AND at >= :since AND at < :until ORDER BY at, key"
    )
    bounds = {"since": since or 0, "until": FOREVER if until is None else until}
    async for row in transaction.stream(sql, tenant=transaction.names.find(tenant), **bounds):
        entry = structs.asdict(_entry(tenant, row))
        yield ExportedEntry(**entry, policy=row.policy, inputs=msgspec.json.decode(row.inputs))


async def totals(transaction: Transaction) -> Totals:
    rows = await transaction.run(
        "SELECT (SELECT count(*) FROM balances) AS customers, (SELECT count(*) FROM entries) AS entries, "
        "(SELECT coalesce(sum(points), 0) FROM balances) AS points"
    )
    return Totals(rows[0].customers, rows[0].entries, int(rows[0].points))


async def marks(transaction: Transaction, tenant: str, redemption_id: str) -> list[Mark]:
    """What was applied for a redemption: its success, its reversal, both, or nothing."""
    rows = await transaction.run(
        "SELECT f.succeeded, f.reversed, o.anonymous FROM facts f "
        "LEFT JOIN orders o ON o.tenant = f.tenant AND o.order_key = f.order_key "
        "WHERE f.tenant = :tenant AND f.redemption_id = :redemption",
        tenant=transaction.names.find(tenant),
        redemption=redemption_id,
    )
    marks = []
    for row in rows:
        if row.succeeded:
            skipped = ("skipped", "anonymous") if row.anonymous else ("done", None)
            marks.append(Mark(Kind.SUCCEEDED.value, *skipped))
        if row.reversed:
            marks.append(Mark(Kind.ROLLED_BACK.value, "done", None))
    return marks


async def mark_counts(transaction: Transaction) -> dict[str, int]:
    """How many effects of the ledger are done and skipped; a success and a reversal are one each."""
    rows = await transaction.run(
        "SELECT (SELECT count(*) FROM facts WHERE succeeded) + (SELECT count(*) FROM facts WHERE reversed) "
        "AS marks, (SELECT count(*) FROM orders o JOIN facts f ON f.tenant = o.tenant "
        "AND f.order_key = o.order_key WHERE o.anonymous) AS skipped"
    )
    return {"done": rows[0].marks - rows[0].skipped, "skipped": rows[0].skipped}


def _entry(tenant: str, row: Row) -> ReportedEntry:
    at = EPOCH + timedelta(milliseconds=row.at)
    return ReportedEntry(
        key=row.key,
        tenant=tenant,
        customer_id=row.customer_id,
        order_key=row.order_key,
        redemption_id=row.redemption_id,
        kind=ENTRY_KINDS[row.kind],
        points=row.points,
        at=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
