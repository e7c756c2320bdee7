"""Whether the books agree: facts with orders, orders with entries, entries with balances. Streamed."""

from collections.abc import AsyncIterator, Iterator, Sequence

from msgspec import Struct

from handlers.loyalty.entitlement import entitlement
from handlers.loyalty.fact_store import JOIN_PARENT, MEMBER, member_of
from handlers.loyalty.policy import Policy
from handlers.loyalty.policy_history import policies_of
from handlers.loyalty.posting import Posted, standing
from storage.database import Transaction
from storage.row import Row

ORDERS_OF_FACTS = (
    f"SELECT f.tenant, f.order_key, {MEMBER}, o.customer_id AS posted_to, o.points AS posted, "  # noqa: S608 - ours
    "o.redemption_id AS decided_by, o.anonymous, o.others, o.revision "
    f"FROM facts f {JOIN_PARENT} LEFT JOIN orders o ON o.tenant = f.tenant AND o.order_key = f.order_key "
    "ORDER BY f.order_key, f.tenant"
)
ORDERS_WITHOUT_FACTS = (
    "SELECT o.tenant, o.order_key, o.points FROM orders o WHERE o.points <> 0 AND NOT EXISTS "
    "(SELECT 1 FROM facts f WHERE f.tenant = o.tenant AND f.order_key = o.order_key)"
)
OTHERS = {
    "postgresql": (
        'SELECT o.tenant, o.order_key, (s.value->>0) COLLATE "C", CAST(s.value->>1 AS bigint), 0 '
        "FROM orders o CROSS JOIN json_array_elements(CAST(o.others AS json)) AS s(value) "
        "WHERE o.others IS NOT NULL"
    ),
    "sqlite": (
        "SELECT o.tenant, o.order_key, s.value->>0, s.value->>1, 0 "
        "FROM orders o CROSS JOIN json_each(o.others) AS s WHERE o.others IS NOT NULL"
    ),
}
"""What orders have given to further accounts, a row an account."""
ORDERS_AGAINST_ENTRIES = (
    "SELECT tenant, order_key, customer_id, sum(posted) AS posted, sum(points) AS points FROM ("
    "SELECT tenant, order_key, customer_id, points AS posted, 0 AS points FROM orders WHERE points <> 0 "
    "UNION ALL {others} UNION ALL SELECT tenant, order_key, customer_id, 0, points FROM entries "
    "WHERE order_key IS NOT NULL) AS both_sides "
    "GROUP BY tenant, order_key, customer_id HAVING sum(posted) <> sum(points)"
)
BY_HAND_UNEXPLAINED = (
    "SELECT e.tenant, e.key, e.customer_id, e.points FROM entries e WHERE e.order_key IS NULL AND NOT EXISTS "
    "(SELECT 1 FROM audit a WHERE a.key = e.key AND a.subject = e.customer_id)"
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
    """`balance`, `order`, `facts` or `entry`."""
    key: str
    """The customer, order, redemption or entry."""
    problem: str


async def verify(transaction: Transaction, policy: Policy) -> AsyncIterator[Finding]:
    """Everything that is wrong; nothing, if every balance is what facts and policy entitle to."""
    earlier = [each for each in await policies_of(transaction) if each.fingerprint != policy.fingerprint]
    async for finding in _facts_against_orders(transaction, [policy, *earlier]):
        yield finding
    async for row in transaction.stream(ORDERS_WITHOUT_FACTS):
        yield _finding(transaction, row, "order", row.order_key, f"has {row.points} points and no redemption")
    async for row in transaction.stream(ORDERS_AGAINST_ENTRIES.format(others=OTHERS[transaction.dialect])):
        problem = f"has posted {row.posted} points to {row.customer_id}, its entries say {row.points}"
        yield _finding(transaction, row, "order", row.order_key, problem)
    async for row in transaction.stream(BY_HAND_UNEXPLAINED):
        yield _finding(
            transaction, row, "entry", row.key, f"of {row.points} points was made by nobody on record"
        )
    async for row in transaction.stream(BALANCES_AGAINST_ENTRIES):
        problem = f"is {row.balance}, its entries say {row.points}"
        yield _finding(transaction, row, "balance", row.customer_id, problem)


async def _facts_against_orders(
    transaction: Transaction, policies: Sequence[Policy]
) -> AsyncIterator[Finding]:
    order: list[Row] = []
    async for row in transaction.stream(ORDERS_OF_FACTS):
        if row.order_key != member_of(row).facts.order_key:
            yield _finding(
                transaction, row, "facts", row.redemption_id, f"is filed under order {row.order_key}"
            )
        if order and (row.tenant, row.order_key) != (order[0].tenant, order[0].order_key):
            for finding in _check(transaction, order, policies):
                yield finding
            order = []
        if row.order_key is not None:
            order.append(row)
    for finding in _check(transaction, order, policies):
        yield finding


def _check(transaction: Transaction, rows: Sequence[Row], policies: Sequence[Policy]) -> Iterator[Finding]:
    """Compare what the facts of one order entitle to with its row."""
    if not rows:
        return
    members, order = [member_of(row) for row in rows], rows[0]
    policy, *earlier = policies
    due = standing(entitlement(members, policy), order.revision)
    if order.posted is None:
        yield _finding(
            transaction, order, "order", order.order_key, f"is missing, {due.points} points are due"
        )
        return
    posted = Posted(
        order.posted_to, order.posted, order.decided_by, bool(order.anonymous), order.others, order.revision
    )
    if posted == due:
        return
    problem = f"has posted {_told(posted)}, due is {_told(due)}"
    for other in earlier:
        if standing(entitlement(members, other), order.revision) == posted:
            problem += (
                f"; policy {other.fingerprint} explains it: `redemptions ledger restate` posts the difference"
            )
            break
    yield _finding(transaction, order, "order", order.order_key, problem)


def _told(stands: Posted) -> str:
    others = f" and {stands.others} to others" if stands.others else ""
    return f"{stands.points} points to {stands.customer_id} for {stands.redemption_id}{others}"


def _finding(transaction: Transaction, row: Row, subject: str, key: str, problem: str) -> Finding:
    return Finding(transaction.names.word(row.tenant), subject, key, problem)
