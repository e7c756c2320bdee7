"""Which orders a batch touches, and what is posted for each of them, under their locks."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from handlers.loyalty.account_store import (
    Moves,
    insert_new_orders,
    lock_orders,
    moves_of,
    order_rows,
    post,
    replace_orders,
)
from handlers.loyalty.entitlement import Member, entitlement
from handlers.loyalty.fact_store import Learned, members_of_orders, orders_of_children
from handlers.loyalty.facts import Facts, Key
from handlers.loyalty.first import first_posting
from handlers.loyalty.policy import Policy
from handlers.loyalty.posting import NOTHING_POSTED, Entry, Posted, settle
from storage.database import Transaction
from storage.names import Names
from storage.rows import Rows

AT_A_STRETCH = 100
"""Orders foreseen without letting go of the loop: the database may have answered meanwhile."""

Members = Mapping[Key, list[Member]]
"""By order."""


class Settled(NamedTuple):
    """What was posted, and how the orders stand that were touched."""

    entries: list[Entry]
    orders: Mapping[Key, Posted]

    def without(self, orders: Collection[Any]) -> "Settled":
        return Settled(
            [entry for entry in self.entries if (entry.tenant, entry.order_key) not in orders],
            {order: posted for order, posted in self.orders.items() if order not in orders},
        )


class Foreseen(NamedTuple):
    """What a batch comes to if it is the first to tell of its redemptions and orders."""

    members: Members
    settled: Settled
    orders: Rows
    moves: Moves
    """The same as it is stored."""


async def foresee(told: Mapping[Key, Facts], names: Names, policy: Policy) -> Foreseen:
    """Needs no database: to be computed while that one is busy."""
    members = _members_told(told.keys(), told)
    orders: dict[Key, Posted] = {}
    entries: list[Entry] = []
    plain = policy.plain
    for order, those in members.items():
        if len(orders) % AT_A_STRETCH == 0:
            await asyncio.sleep(0)
        if plain is not None and len(those) == 1:
            orders[order], entry = first_posting(order, names.word(order[0]), those[0], plain)
            if entry is not None:
                entries.append(entry)
            continue
        orders[order], moves = _settled(order, those, NOTHING_POSTED, names, policy)
        entries += moves
    return Foreseen(members, Settled(entries, orders), order_rows(orders), moves_of(entries))


async def settle_orders(
    transaction: Transaction, learned: Learned, policy: Policy, foreseen: Foreseen
) -> Settled:
    """Post what the orders of changed facts lack. The facts must be locked; locks orders, then balances."""
    members: Members
    if learned.before:
        touched = _orders_of(learned) | await orders_of_children(transaction, learned.newly_reversed())
        members = _members_told(learned.changed, learned.after, touched)
        new = _settled_new(members, transaction.names, policy, foreseen)
        stored, moves = order_rows(new.orders), None
    else:
        members, new, stored, moves = foreseen
    if not members:
        return Settled([], {})
    # Orders that nobody knew have no other facts than this batch's: no need to read them back.
    known = await insert_new_orders(transaction, stored)
    if known:
        others = await _settled_known(transaction, members.keys() & known, policy)
        fresh, moves = new.without(known), None
        new = Settled([*fresh.entries, *others.entries], {**fresh.orders, **others.orders})
    await post(transaction, moves or moves_of(new.entries))
    return new


async def restate_orders(transaction: Transaction, orders: Collection[Key], policy: Policy) -> list[Entry]:
    """Post what these orders lack under another policy than before; locks orders, then balances."""
    settled = await _settled_known(transaction, orders, policy, restated=True)
    await post(transaction, moves_of(settled.entries))
    return settled.entries


def _settled_new(members: Members, names: Names, policy: Policy, foreseen: Foreseen) -> Settled:
    """As foreseen, but for orders of which the database knew more."""
    unlike = {
        order: _settled(order, those, NOTHING_POSTED, names, policy)
        for order, those in members.items()
        if those != foreseen.members.get(order)
    }
    alike = foreseen.settled.without(unlike.keys() | (foreseen.members.keys() - members.keys()))
    return _together(unlike, alike)


async def _settled_known(
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
        },
        Settled([], {}),
    )
    await replace_orders(
        transaction, {order: stands for order, stands in settled.orders.items() if stands != posted[order]}
    )
    return settled


def _settled(
    order: Key, members: list[Member], posted: Posted, names: Names, policy: Policy, restated: bool = False
) -> tuple[Posted, list[Entry]]:
    return settle(order, names.word(order[0]), posted, entitlement(members, policy), restated=restated)


def _together(orders: Mapping[Key, tuple[Posted, list[Entry]]], others: Settled) -> Settled:
    return Settled(
        [*others.entries, *(entry for _, moves in orders.values() for entry in moves)],
        {**others.orders, **{order: stands for order, (stands, _) in orders.items()}},
    )


def _orders_of(learned: Learned) -> set[Key]:
    """Those that changed facts belong to, and those that they belonged to before."""
    touched: set[Key] = set()
    for stands in (learned.before, learned.after):
        for key in learned.changed:
            if key in stands and (order_key := stands[key].order_key) is not None:
                touched.add((key[0], order_key))
    return touched


def _members_told(
    keys: Iterable[Key], told: Mapping[Key, Facts], orders: Iterable[Key] = ()
) -> dict[Key, list[Member]]:
    """The redemptions of these keys by order, as far as a batch tells; none for those of `orders` that they
    all have left."""
    members: dict[Key, list[Member]] = {order: [] for order in orders}
    for key in keys:
        facts, tenant = told[key], key[0]
        if (order_key := facts.order_key) is None:
            continue
        parent = told.get((tenant, facts.parent_id)) if facts.parent_id else None
        member = Member(facts, parent is not None and parent.reversed)
        order = tenant, order_key
        if order in members:
            members[order].append(member)
        else:
            members[order] = [member]
    return members
