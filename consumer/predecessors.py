"""Whom a handler's effects wait for: other handlers that must have settled the same event first."""

from collections.abc import Mapping
from typing import NamedTuple

from broker.protocols import Record
from storage.database import Transaction
from storage.effects import Mark, states_of
from storage.positions import groups_past
from storage.schema import State


class Predecessors(NamedTuple):
    handlers: frozenset[str]
    """Those that do not settle in the transaction which stores the effects that wait for them."""
    all: str
    """The consumer group that runs all handlers; one that runs a subset has the names behind it."""

    async def unsettled(self, transaction: Transaction, records: Mapping[Mark, Record]) -> set[Mark]:
        """The effects whose turn has not come.

        A handler has settled an event when its row says so: done, skipped, discarded, or dead, for an
        operator may take his time with a letter. Where it has no row it keeps its marks elsewhere, or wanted
        nothing of the event, or has not seen it yet; that it has seen it is what its group's position says.
        """
        waiting: set[Mark] = set()
        for handler in sorted(self.handlers):
            number = transaction.names.find(handler)
            rows = {mark: mark._replace(handler=number) for mark in records} if number is not None else {}
            states = await states_of(transaction, rows.values()) if rows else {}
            unseen = {mark: record for mark, record in records.items() if rows.get(mark) not in states}
            waiting |= {mark for mark, row in rows.items() if states.get(row) is State.PENDING}
            waiting |= await self._unseen(transaction, handler, unseen)
        return waiting

    async def _unseen(
        self, transaction: Transaction, handler: str, records: Mapping[Mark, Record]
    ) -> set[Mark]:
        topics = {record.topic for record in records.values()}
        ends: dict[tuple[str, int], int] = {}
        for topic in sorted(topics):
            for group, partition, next_offset in await groups_past(transaction, topic):
                if self._runs(group, handler):
                    ends[topic, partition] = max(ends.get((topic, partition), 0), next_offset)
        return {
            mark
            for mark, record in records.items()
            if ends.get((record.topic, record.partition), 0) <= record.offset
        }

    def _runs(self, group: str, handler: str) -> bool:
        """Whether a group runs a handler, by its name."""
        if group == self.all:
            return True
        subset = group.removeprefix(f"{self.all}.")
        return subset != group and f".{handler}." in f".{subset}."
