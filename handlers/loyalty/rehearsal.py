"""What events would change in the ledger: the ledger itself, applied to a copy of what they touch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Table

from events.event import RedemptionEvent
from events.failures import Refused
from handlers.loyalty.facts import Key
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.policy import Policy
from handlers.loyalty.reading import read
from storage.database import Transaction
from storage.row import Row
from storage.rows import Rows
from storage.schema import facts, names, orders

ID = {"tenant": "smallint", "id": "text"}
FACTS_BY = {
    "id": "f.redemption_id = r.id",
    "parent": "f.parent_id = r.id AND f.parent_id IS NOT NULL",
    "order": "f.order_key = r.id",
}


class Change(NamedTuple):
    """What one account would gain or lose."""

    tenant: str
    customer_id: str
    points: int


class Rehearsal:
    """Reads from a snapshot, writes to a scratch database alone. One batch after the other adds up."""

    def __init__(self, snapshot: Transaction, scratch: Transaction, policy: Policy) -> None:
        self._snapshot = snapshot
        self._scratch = scratch
        self._policy = policy
        self._ledger = Loyalty(policy)
        self.refused: Counter[str] = Counter()
        """Events that the ledger would refuse, by reason."""
        self.applied = 0

    async def begin(self) -> None:
        """The names first: the rows to copy hold their numbers."""
        known = await self._snapshot.run("SELECT id, name FROM names")
        await self._copy(names, known)
        await self._scratch.read_names()

    async def play(self, events: Sequence[RedemptionEvent]) -> None:
        mine = [event for event in events if event.kind in self._ledger.kinds]
        if not mine:
            return
        await self._scratch.learn({event.tenant for event in mine})
        await self._copy_touched(mine)
        verdicts = await self._ledger.apply(mine, self._scratch)
        refusals = [verdict.reason for verdict in verdicts.values() if isinstance(verdict, Refused)]
        self.refused.update(refusals)
        self.applied += len(mine) - len(refusals)
        # Nobody is told of them, and there may be many batches.
        self._scratch.notes.clear()
        self._scratch.oddities.clear()

    async def changes(self) -> list[Change]:
        """By account, those that stay as they are left out."""
        rows = await self._scratch.run(
            "SELECT tenant, customer_id, sum(points) AS points FROM entries GROUP BY tenant, customer_id "
            "HAVING sum(points) <> 0 ORDER BY tenant, customer_id"
        )
        return [Change(self._scratch.names.word(row.tenant), row.customer_id, row.points) for row in rows]

    async def _copy_touched(self, events: Iterable[RedemptionEvent]) -> None:
        """All that the ledger will read: redemptions, their parents and children, and whatever shares an
        order with one of them."""
        redemptions, groups = self._told(events)
        found = [*await self._facts("id", redemptions), *await self._facts("parent", redemptions)]
        for row in found:
            groups |= {(row.tenant, id_) for id_ in _possible_orders(row)}
        found += await self._facts("order", groups)
        found += await self._facts("id", {(row.tenant, row.parent_id) for row in found if row.parent_id})
        await self._copy(facts, found)
        sql = "SELECT o.* FROM {rows} CROSS JOIN orders o WHERE o.tenant = r.tenant AND o.order_key = r.id"
        await self._copy(orders, await self._snapshot.run(sql, Rows(ID, sorted(groups))))

    def _told(self, events: Iterable[RedemptionEvent]) -> tuple[set[Key], set[Key]]:
        """The redemptions that events name, and the orders that these may belong to."""
        redemptions: set[Key] = set()
        groups: set[Key] = set()
        for event in events:
            try:
                told = read(event, self._policy)
            except Refused:
                continue
            tenant = self._scratch.names.id(event.tenant)
            redemptions |= {(tenant, id_) for id_ in (told.redemption_id, told.parent_id) if id_}
            groups |= {(tenant, id_) for id_ in _possible_orders(told)}
        return redemptions, groups

    async def _facts(self, by: str, keys: Iterable[Key]) -> Sequence[Row]:
        return await self._snapshot.run(
            f"SELECT f.* FROM {{rows}} CROSS JOIN facts f WHERE f.tenant = r.tenant AND {FACTS_BY[by]}",  # noqa: S608 - ours
            Rows(ID, sorted(keys)),
        )

    async def _copy(self, table: Table, rows: Iterable[Row]) -> None:
        """What is there already stays: an earlier batch may have changed it."""
        values = [row._asdict() for row in rows]
        if values:
            await self._scratch.connection.execute(table.insert().prefix_with("OR IGNORE"), values)


def _possible_orders(told: Any) -> set[str]:
    """Whatever these facts may come to once they are merged with others of the same redemption."""
    return {id_ for id_ in (told.order_id, told.parent_id, told.redemption_id) if id_}
