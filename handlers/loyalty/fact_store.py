"""The facts table: what a batch tells is merged into it under locks, and read back by order."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import astuple

from handlers.loyalty.entitlement import Member
from handlers.loyalty.facts import Facts, Key, in_key_order, merge
from storage.database import Transaction
from storage.inserting import insert_absent
from storage.row import Row
from storage.rows import Rows

FACTS = ", ".join(f"f.{field}" for field in Facts.__struct_fields__)
ID = {"tenant": "smallint", "redemption_id": "text"}
COLUMNS = ID | {
    "order_id": "text",
    "parent_id": "text",
    "customer_id": "text",
    "amount": "bigint",
    "total_amount": "bigint",
    "total_discount_amount": "bigint",
    "voucher_type": "text",
    "channel_type": "text",
    "order_status": "text",
    "date": "bigint",
    "has_voucher": "boolean",
    "has_tier": "boolean",
    "has_reward": "boolean",
    "succeeded": "boolean",
    "reversed": "boolean",
    "conflicts": "integer",
    "details": "text",
    "order_key": "text",
}
INSERT = (
    f"INSERT INTO facts ({', '.join(COLUMNS)}) SELECT {', '.join(f'r.{name}' for name in COLUMNS)} "  # noqa: S608 - our own names
    "FROM {rows} WHERE true"
)
REPLACE = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in ID)
MEMBER = f"{FACTS}, p.reversed AS parent_reversed"
"""The columns of `member_of`, with JOIN_PARENT."""
JOIN_PARENT = "LEFT JOIN facts p ON p.tenant = f.tenant AND p.redemption_id = f.parent_id"
SAME_ID = "f.tenant = r.tenant AND f.redemption_id = r.redemption_id"


class Learned(NamedTuple):
    """What a batch did to the facts: all that it locked, as it was (absent when new) and as it is."""

    before: Mapping[Key, Facts]
    after: Mapping[Key, Facts]
    changed: Sequence[Key]

    def newly_reversed(self) -> list[Key]:
        """Those a child may have named before: a row that is new has no children yet but in this batch."""
        return [key for key, facts in self.before.items() if self.after[key].reversed and not facts.reversed]


class Told(NamedTuple):
    """What a batch tells, and a placeholder for every parent named of which it tells nothing."""

    facts: Mapping[Key, Facts]
    rows: Rows
    """The same as it is stored, in key order."""


def with_parents(told: Mapping[Key, Facts]) -> Told:
    facts = {**{parent: Facts(parent[1]) for parent in _parents(told)}, **told}
    return Told(facts, Rows(COLUMNS, _rows(facts)))


async def learn(transaction: Transaction, told: Told) -> Learned:
    """Merge what a batch tells into the facts. Locks them all, in key order."""
    wanted = told.facts
    if not wanted:
        return Learned({}, {}, ())
    known = await insert_absent(transaction, "facts", told.rows, len(ID))
    if not known:
        return Learned({}, wanted, list(wanted))
    before = await _lock(transaction, known)
    after = before | {
        key: merge(before[key], facts) if key in before else facts for key, facts in wanted.items()
    }
    changed = {key: after[key] for key in before if after[key] != before[key]}
    await _replace(transaction, changed)
    # Another worker may have told of a parent just before we got the lock. This one is out of key order, but
    # rare: should it close a circle, the database breaks it and the batch is tried again.
    late = await _lock(transaction, _parents(changed) - after.keys())
    return Learned(before | late, after | late, [*(wanted.keys() - known), *changed])


async def orders_of_children(transaction: Transaction, parents: Iterable[Key]) -> set[Key]:
    """The orders of all redemptions that name one of these, which must be locked, as their parent."""
    wanted = sorted(parents)
    if not wanted:
        return set()
    rows = await transaction.run(
        "SELECT f.tenant, f.order_key FROM {rows} CROSS JOIN facts f WHERE f.tenant = r.tenant "
        "AND f.parent_id = r.redemption_id AND f.parent_id IS NOT NULL",
        Rows(ID, wanted),
    )
    return {(row.tenant, row.order_key) for row in rows if row.order_key is not None}


async def members_of_orders(transaction: Transaction, orders: Iterable[Key]) -> dict[Key, list[Member]]:
    """By order: its redemptions as they are now; none for an order that they all have left."""
    members: dict[Key, list[Member]] = {key: [] for key in orders}
    rows = await transaction.run(
        f"SELECT f.tenant, f.order_key, {MEMBER} FROM {{rows}} CROSS JOIN facts f "  # noqa: S608 - our own names
        f"{JOIN_PARENT} WHERE f.tenant = r.tenant AND f.order_key = r.order_key",
        Rows({"tenant": "smallint", "order_key": "text"}, sorted(members)),
    )
    for row in rows:
        members[row.tenant, row.order_key].append(member_of(row))
    return members


def member_of(row: Row) -> Member:
    return Member(_facts(row), bool(row.parent_reversed))


def _facts(row: Row) -> Facts:
    return Facts(*(getattr(row, field) for field in Facts.__struct_fields__))


def _parents(facts: Mapping[Key, Facts]) -> set[Key]:
    return {(tenant, each.parent_id) for (tenant, _), each in facts.items() if each.parent_id}


async def _lock(transaction: Transaction, keys: Collection[Key]) -> dict[Key, Facts]:
    """Lock and read these and the parents they name.

    A partial duplicate does not name the parent that the stored facts name, and may move the redemption to
    another order all the same. A reversal of that parent would meanwhile look for its child in the old one.
    """
    if not keys:
        return {}
    rows = await transaction.run(
        "WITH named AS (SELECT r.tenant, r.redemption_id FROM {rows}), wanted AS ("  # noqa: S608 - our own names
        "SELECT tenant, redemption_id FROM named UNION SELECT f.tenant, f.parent_id FROM named r "
        f"CROSS JOIN facts f WHERE {SAME_ID} AND f.parent_id IS NOT NULL) "
        f"SELECT f.tenant, {FACTS} FROM wanted r CROSS JOIN facts f WHERE {SAME_ID} "
        "ORDER BY f.tenant, f.redemption_id {lock}",
        Rows(ID, sorted(keys)),
    )
    return {(row.tenant, row.redemption_id): _facts(row) for row in rows}


async def _replace(transaction: Transaction, facts: Mapping[Key, Facts]) -> None:
    if facts:
        await transaction.run(
            f"{INSERT} ON CONFLICT (tenant, redemption_id) DO UPDATE SET {REPLACE}",
            Rows(COLUMNS, _rows(facts)),
        )


def _rows(facts: Mapping[Key, Facts]) -> list[tuple[Any, ...]]:
    return [(key[0], *astuple(each := facts[key]), each.order_key) for key in in_key_order(facts)]
