"""Which orders a batch touches, and what is posted for each of them, under their locks."""

import asyncio
from collections.abc import Collection, Mapping
from typing import NamedTuple

from handlers.loyalty.account_store import (
    insert_entries,
    insert_new_orders,
    lock_orders,
    move_balances,
    replace_orders,
)
from handlers.loyalty.entitlement import Member, entitlement
from handlers.loyalty.fact_store import Learned, members_of_orders, orders_of_children
from handlers.loyalty.facts import Facts, Key
from handlers.loyalty.policy import Policy
from handlers.loyalty.posting import NOTHING_POSTED, Entry, Posted, settle
from storage.database import Transaction
from storage.names import Names

AT_A_STRETCH = 100
"""Orders foreseen without letting go of the loop: the database may have answered meanwhile."""

Members = Mapping[Key, list[Member]]
"""By order."""


class Settled(NamedTuple):
    """What was posted, and how the orders stand that were touched."""

    entries: list[Entry]
    orders: Mapping[Key, Posted]


class Foreseen(NamedTuple):
    """What a batch comes to if it is the first to tell of its redemptions, by order."""

    members: Members
    orders: Mapping[Key, tuple[Posted, list[Entry]]]


async def foresee(told: Mapping[Key, Facts], names: Names, policy: Policy) -> Foreseen:
    """Needs no database: to be computed while that one is busy."""
    new = Learned({}, told, list(told))
    members = _members_told(new, _orders_of(new))
    orders: dict[Key, tuple[Posted, list[Entry]]] = {}
    for order, those in members.items():
        if len(orders) % AT_A_STRETCH == 0:
            await asyncio.sleep(0)
        orders[order] = _settled(order, those, NOTHING_POSTED, names, policy)
    return Foreseen(members, orders)


async def settle_orders(
    transaction: Transaction, learned: Learned, policy: Policy, foreseen: Foreseen
) -> Settled:
    """Post what the orders of changed facts lack. The facts must be locked; locks orders, then balances."""
    touched = _orders_of(learned) | await orders_of_children(transaction, learned.newly_reversed())
    if not touched:
        return Settled([], {})
    members = _members_told(learned, touched) if learned.before else foreseen.members
    new = await _post_new(transaction, members, policy, foreseen)
    known = await _post_known(transaction, touched - new.orders.keys(), policy)
    entries = [*new.entries, *known.entries]
    await insert_entries(transaction, entries)
    await move_balances(transaction, entries)
    return Settled(entries, {**new.orders, **known.orders})


async def restate_orders(transaction: Transaction, orders: Collection[Key], policy: Policy) -> list[Entry]:
    """Post what these orders lack under another policy than before; locks orders, then balances."""
    settled = await _post_known(transaction, orders, policy, restated=True)
    await insert_entries(transaction, settled.entries)
    await move_balances(transaction, settled.entries)
    return settled.entries


async def _post_new(
    transaction: Transaction, members: Members, policy: Policy, foreseen: Foreseen
) -> Settled:
    """Orders that nobody knew have no other facts than this batch's: no need to read them back."""
    settled = _together(
        {
            order: foreseen.orders[order]
            if those == foreseen.members.get(order)
            else _settled(order, those, NOTHING_POSTED, transaction.names, policy)
            for order, those in members.items()
        }
    )
    known = await insert_new_orders(transaction, settled.orders)
    if not known:
        return settled
    return Settled(
        [entry for entry in settled.entries if (entry.tenant, entry.order_key) not in known],
        {order: posted for order, posted in settled.orders.items() if order not in known},
    )


async def _post_known(
    transaction: Transaction, orders: Collection[Key], policy: Policy, *, restated: bool = False
) -> Settled:
    if not orders:
        return Settled([], {})
    posted = await lock_orders(transaction, orders)
    # In a statement after the locks: what the order's last owner committed must be seen.
    members = await members_of_orders(transaction, orders)
    settled = _together(
        {
            order: _settled(
                order, those, posted.get(order, NOTHING_POSTED), transaction.names, policy, restated
            )
            for order, those in members.items()
        }
    )
    await replace_orders(
        transaction, {order: stands for order, stands in settled.orders.items() if stands != posted[order]}
    )
    return settled


def _settled(
    order: Key, members: list[Member], posted: Posted, names: Names, policy: Policy, restated: bool = False
) -> tuple[Posted, list[Entry]]:
    return settle(order, names.word(order[0]), posted, entitlement(members, policy), restated=restated)


def _together(orders: Mapping[Key, tuple[Posted, list[Entry]]]) -> Settled:
    return Settled(
        [entry for _, moves in orders.values() for entry in moves],
        {order: stands for order, (stands, _) in orders.items()},
    )


def _orders_of(learned: Learned) -> set[Key]:
    """Those that changed facts belong to, and those that they belonged to before."""
    touched: set[Key] = set()
    for stands in (learned.before, learned.after):
        for key in learned.changed:
            if key in stands and (order_key := stands[key].order_key) is not None:
                touched.add((key[0], order_key))
    return touched


def _members_told(learned: Learned, orders: Collection[Key]) -> dict[Key, list[Member]]:
    """By order, as far as this batch tells."""
    members: dict[Key, list[Member]] = {order: [] for order in orders}
    for key in learned.changed:
        facts, tenant = learned.after[key], key[0]
        if (order_key := facts.order_key) is not None:
            parent = learned.after.get((tenant, facts.parent_id)) if facts.parent_id else None
            members[tenant, order_key].append(Member(facts, parent is not None and parent.reversed))
    return members
