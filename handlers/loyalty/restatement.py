"""Another policy for orders of the past: the differences, and the entries that post them."""

from collections.abc import AsyncIterator

from msgspec import Struct

from handlers.loyalty.facts import Key
from handlers.loyalty.policy import Policy
from handlers.loyalty.policy_history import record
from handlers.loyalty.posting import Entry
from handlers.loyalty.settlement import restate_orders
from storage.database import Database, Transaction

ORDERS_A_TRANSACTION = 500


class Restated(Struct, frozen=True):
    """What one account gains or loses for one order."""

    tenant: str
    order_key: str | None
    customer_id: str
    points: int


class _Undo(Exception):
    """Ends a transaction that was only to show what it would do."""


async def restate(database: Database, policy: Policy, *, dry_run: bool) -> AsyncIterator[Restated]:
    """Give every order what `policy` entitles it to, then take the policy into force.

    Some hundred orders a transaction; begun again after an interruption, it finds the first ones settled.
    Workers must not run with another policy meanwhile: what they touch would go back to theirs.
    """
    after: Key = (-1, "")
    while True:
        restated: list[Restated] = []
        try:
            async with database.transaction() as transaction:
                orders = await _orders_after(transaction, after)
                postings = await restate_orders(transaction, orders, policy) if orders else []
                restated = [_told(transaction, posting) for posting in postings]
                if dry_run:
                    raise _Undo
                if not orders:
                    await record(transaction, policy)
        except _Undo:
            pass
        for each in restated:
            yield each
        if not orders:
            return
        after = orders[-1]


async def _orders_after(transaction: Transaction, after: Key) -> list[Key]:
    rows = await transaction.run(
        "SELECT tenant, order_key FROM orders WHERE (tenant, order_key) > (:tenant, CAST(:order AS text)) "
        "ORDER BY tenant, order_key LIMIT :limit",
        tenant=after[0],
        order=after[1],
        limit=ORDERS_A_TRANSACTION,
    )
    return [(row.tenant, row.order_key) for row in rows]


def _told(transaction: Transaction, entry: Entry) -> Restated:
    tenant = transaction.names.word(entry.tenant)
    return Restated(tenant, entry.order_key, entry.customer_id, entry.points)
