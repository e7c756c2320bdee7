"""The tables orders, entries and balances: set-based statements, each over rows in key order."""

from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter
from typing import Any

from handlers.loyalty.facts import Key
from handlers.loyalty.posting import Entry, Posted
from storage.database import Transaction
from storage.rows import Rows

ORDER_KEY = {"tenant": "smallint", "order_key": "text"}
ORDER = ORDER_KEY | {
    "customer_id": "text",
    "points": "bigint",
    "redemption_id": "text",
    "anonymous": "boolean",
    "others": "text",
    "revision": "integer",
}
INSERT_ORDERS = (
    "INSERT INTO orders (tenant, order_key, customer_id, points, redemption_id, anonymous, others, revision) "
    "SELECT r.tenant, r.order_key, r.customer_id, r.points, r.redemption_id, r.anonymous, r.others, "
    "r.revision FROM {rows} WHERE true ON CONFLICT "
)


async def insert_new_orders(transaction: Transaction, orders: Mapping[Key, Posted]) -> set[tuple[Any, ...]]:
    """Store the orders that nobody knew, which are locked then; returns the others."""
    return await transaction.insert_absent("orders", Rows(ORDER, _order_rows(orders)), len(ORDER_KEY))


async def lock_orders(transaction: Transaction, keys: Collection[Key]) -> dict[Key, Posted]:
    rows = await transaction.run(
        "SELECT o.tenant, o.order_key, o.customer_id, o.points, o.redemption_id, o.anonymous, "
        "o.others, o.revision FROM {rows} CROSS JOIN orders o "
        "WHERE o.tenant = r.tenant AND o.order_key = r.order_key "
        "ORDER BY o.tenant, o.order_key {lock}",
        Rows(ORDER_KEY, sorted(keys)),
    )
    return {(row.tenant, row.order_key): Posted._make(row[2:]) for row in rows}


async def replace_orders(transaction: Transaction, orders: Mapping[Key, Posted]) -> None:
    """Overwrite orders that are locked."""
    if orders:
        await transaction.run(
            f"{INSERT_ORDERS} (tenant, order_key) DO UPDATE SET customer_id = excluded.customer_id, "
            "points = excluded.points, redemption_id = excluded.redemption_id, "
            "anonymous = excluded.anonymous, others = excluded.others, revision = excluded.revision",
            Rows(ORDER, _order_rows(orders)),
        )


async def insert_entries(transaction: Transaction, entries: Iterable[Entry]) -> None:
    columns = {
        "tenant": "smallint",
        "key": "text",
        "customer_id": "text",
        "order_key": "text",
        "redemption_id": "text",
        "kind": "smallint",
        "points": "bigint",
        "policy": "text",
        "inputs": "text",
    }
    if rows := sorted(entries, key=itemgetter(0, 1)):
        await transaction.run(
            "INSERT INTO entries (tenant, key, customer_id, order_key, redemption_id, kind, points, policy, "
            "inputs, at) SELECT r.tenant, r.key, r.customer_id, r.order_key, r.redemption_id, r.kind, "
            "r.points, r.policy, r.inputs, {now} FROM {rows} WHERE true",
            Rows(columns, rows),
        )


async def move_balances(transaction: Transaction, entries: Iterable[Entry]) -> None:
    """Last of all: a customer with many orders is the row that many workers want."""
    moved: dict[Key, int] = {}
    for entry in entries:
        customer = (entry.tenant, entry.customer_id)
        moved[customer] = moved.get(customer, 0) + entry.points
    if moved:
        await transaction.run(
            "INSERT INTO balances (tenant, customer_id, points) SELECT r.tenant, r.customer_id, r.points "
            "FROM {rows} WHERE true ON CONFLICT (tenant, customer_id) "
            "DO UPDATE SET points = balances.points + excluded.points",
            Rows(
                {"tenant": "smallint", "customer_id": "text", "points": "bigint"},
                [(*customer, moved[customer]) for customer in sorted(moved)],
            ),
        )


def _order_rows(orders: Mapping[Key, Posted]) -> list[tuple[object, ...]]:
    return [(*key, *orders[key]) for key in sorted(orders)]
