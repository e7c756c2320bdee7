"""The tables orders, entries and balances: set-based statements, each over rows in key order."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from handlers.loyalty.facts import Key, in_key_order
from handlers.loyalty.posting import Entry, Posted
from storage.database import Transaction
from storage.inserting import insert_absent, insert_new
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
ENTRY = {
    "tenant": "smallint",
    "key": "text",
    "customer_id": "text",
    "order_key": "text",
    "redemption_id": "text",
    "kind": "smallint",
    "points": "bigint",
    "policy": "text",
    "inputs": "text",
    "at": "bigint",
}
BALANCE = {"tenant": "smallint", "customer_id": "text", "points": "bigint"}
INSERT_ORDERS = (
    "INSERT INTO orders (tenant, order_key, customer_id, points, redemption_id, anonymous, others, revision) "
    "SELECT r.tenant, r.order_key, r.customer_id, r.points, r.redemption_id, r.anonymous, r.others, "
    "r.revision FROM {rows} WHERE true ON CONFLICT "
)


class Moves(NamedTuple):
    """Entries in the order of their keys, and what they do to balances, as it is stored."""

    entries: list[Entry]
    balances: Rows


def order_rows(orders: Mapping[Key, Posted]) -> Rows:
    return Rows(ORDER, [(*key, *orders[key]) for key in in_key_order(orders)])


def moves_of(entries: Iterable[Entry]) -> Moves:
    ordered = in_key_order(entries)
    moved: dict[Key, int] = {}
    for tenant, _, customer, _, _, _, points, _, _ in ordered:
        account = tenant, customer
        moved[account] = moved.get(account, 0) + points
    return Moves(ordered, Rows(BALANCE, [(*account, moved[account]) for account in in_key_order(moved)]))


async def insert_new_orders(transaction: Transaction, orders: Rows) -> set[tuple[Any, ...]]:
    """Store the orders that nobody knew, which are locked then; returns the others."""
    return await insert_absent(transaction, "orders", orders, len(ORDER_KEY))


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
            order_rows(orders),
        )


async def post(transaction: Transaction, moves: Moves) -> None:
    """Balances last of all: a customer with many orders is the row that many workers want."""
    if moves.entries:
        at = transaction.now
        await insert_new(transaction, "entries", Rows(ENTRY, [(*entry, at) for entry in moves.entries]))
        await transaction.run(
            "INSERT INTO balances (tenant, customer_id, points) SELECT r.tenant, r.customer_id, r.points "
            "FROM {rows} WHERE true ON CONFLICT (tenant, customer_id) "
            "DO UPDATE SET points = balances.points + excluded.points",
            moves.balances,
        )
