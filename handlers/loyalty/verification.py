"""Whether the books agree: facts with orders, orders with entries, entries with balances. Streamed."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Row

from handlers.loyalty.entitlement import entitlement
from handlers.loyalty.fact_store import JOIN_PARENT, MEMBER, member_of
from storage.database import Transaction

ORDERS_OF_FACTS = (
    f"SELECT f.tenant, f.order_key, {MEMBER}, o.customer_id AS posted_to, o.points AS posted, "  # noqa: S608 - ours
    "o.redemption_id AS decided_by, o.anonymous, o.revision "
    f"FROM facts f {JOIN_PARENT} LEFT JOIN orders o ON o.tenant = f.tenant AND o.order_key = f.order_key "
    "ORDER BY f.order_key, f.tenant"
)
ORDERS_WITHOUT_FACTS = (
    "SELECT o.tenant, o.order_key, o.points FROM orders o WHERE o.points <> 0 AND NOT EXISTS "
    "(SELECT 1 FROM facts f WHERE f.tenant = o.tenant AND f.order_key = o.order_key)"
)
ORDERS_AGAINST_ENTRIES = (
    "SELECT tenant, order_key, customer_id, sum(posted) AS posted, sum(points) AS points FROM ("
    "SELECT tenant, order_key, customer_id, points AS posted, 0 AS points FROM orders WHERE points <> 0 "
    "UNION ALL SELECT tenant, order_key, customer_id, 0, points FROM entries) AS both_sides "
    "GROUP BY tenant, order_key, customer_id HAVING sum(posted) <> sum(points)"
)
BALANCES_AGAINST_ENTRIES = (
    "SELECT tenant, customer_id, sum(balance) AS balance, sum(points) AS points FROM ("
    "SELECT tenant, customer_id, points AS balance, 0 AS points FROM balances "
    "UNION ALL SELECT tenant, customer_id, 0, points FROM entries) AS both_sides "
    "GROUP BY tenant, customer_id HAVING sum(balance) <> sum(points)"
)


class Finding(Struct, frozen=True):
    """Two places that should agree and do not."""

    tenant: str
    subject: str
    """`balance`, `order` or `facts`."""
    key: str
    """The customer, order or redemption."""
    problem: str


async def verify(transaction: Transaction) -> AsyncIterator[Finding]:
    """Everything that is wrong; nothing, if every balance is what the stored facts entitle to."""
    async for finding in _facts_against_orders(transaction):
        yield finding
    async for row in transaction.stream(ORDERS_WITHOUT_FACTS):
        yield _finding(transaction, row, "order", row.order_key, f"has {row.points} points and no redemption")
    async for row in transaction.stream(ORDERS_AGAINST_ENTRIES):
        problem = f"has posted {row.posted} points to {row.customer_id}, its entries say {row.points}"
        yield _finding(transaction, row, "order", row.order_key, problem)
    async for row in transaction.stream(BALANCES_AGAINST_ENTRIES):
        problem = f"is {row.balance}, its entries say {row.points}"
        yield _finding(transaction, row, "balance", row.customer_id, problem)


async def _facts_against_orders(transaction: Transaction) -> AsyncIterator[Finding]:
    order: list[Row[Any]] = []
    async for row in transaction.stream(ORDERS_OF_FACTS):
        if row.order_key != member_of(row).facts.order_key:
            yield _finding(
                transaction, row, "facts", row.redemption_id, f"is filed under order {row.order_key}"
            )
        if order and (row.tenant, row.order_key) != (order[0].tenant, order[0].order_key):
            for finding in _check(transaction, order):
                yield finding
            order = []
        if row.order_key is not None:
            order.append(row)
    for finding in _check(transaction, order):
        yield finding


def _check(transaction: Transaction, rows: Sequence[Row[Any]]) -> Iterator[Finding]:
    """Compare what the facts of one order entitle to with its row."""
    if not rows:
        return
    due = entitlement([member_of(row) for row in rows])
    order, entitled = rows[0], (due.customer_id, due.points, due.redemption_id, due.anonymous)
    if order.posted is None:
        yield _finding(
            transaction, order, "order", order.order_key, f"is missing, {due.points} points are due"
        )
    elif entitled != (order.posted_to, order.posted, order.decided_by, bool(order.anonymous)):
        problem = (
            f"has posted {order.posted} points to {order.posted_to} for {order.decided_by}, "
            f"its facts entitle {due.customer_id} to {due.points} for {due.redemption_id}"
        )
        yield _finding(transaction, order, "order", order.order_key, problem)


def _finding(transaction: Transaction, row: Row[Any], subject: str, key: str, problem: str) -> Finding:
    return Finding(transaction.names.word(row.tenant), subject, key, problem)
