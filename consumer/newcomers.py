"""The pending effects that a batch stores: their records, what they depend on, and which ones the worker that
stores them takes at once, so that they need not be claimed and loaded again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from consumer.asking import Parcel
from consumer.dependencies import Dependencies
from consumer.item import Item
from storage.breakers import closed_doors
from storage.bundles import RecordKey, store_bundle
from storage.database import Transaction
from storage.effects import Mark, Waiting
from storage.leases import Lease, still_leased


class Room(NamedTuple):
    """What a delivery of this worker can take."""

    owner: str
    free: int
    at_once: int
    """So many of these begin at once: their first tries count from the beginning."""
    lease_seconds: float


class Taken(NamedTuple):
    lease: Lease
    load: Item


class Newcomers:
    """Made for one batch and one try at it. `bundle`: a name nobody else has. `lost`: those of a try whose
    commit was perhaps not answered, though it took place."""

    def __init__(
        self,
        rooms: Mapping[str, Room],
        bundle: str,
        dependencies: Dependencies | None = None,
        lost: "Newcomers | None" = None,
    ) -> None:
        self.dependencies = dependencies or Dependencies()
        self._rooms = rooms
        self._bundle = bundle
        self._lost = lost
        self._parcels: Mapping[str, Parcel] = {}
        """By the bundle that holds it."""
        self._bundles: dict[RecordKey, str] = {}
        self._leased: dict[Mark, tuple[str, Lease]] = {}
        """With the owner."""
        self.taken: dict[str, list[Taken]] = {}
        """By handler."""

    def expect(self, parcels: Sequence[Parcel]) -> None:
        """Records of effects that may be stored, each event once."""
        self._parcels = {f"{self._bundle}-{number}": parcel for number, parcel in enumerate(parcels)}
        for bundle, parcel in self._parcels.items():
            self._bundles |= dict.fromkeys(parcel.records, bundle)

    def bundle_of(self, mark: Mark) -> str | None:
        return self._bundles.get(mark.event)

    async def choose(
        self, transaction: Transaction, asked: Mapping[str, Mapping[Mark, str]]
    ) -> dict[Mark, Waiting]:
        """Of effects by handler, with their dependencies: what is to be stored with them if they are new."""
        doors = await closed_doors(transaction) if any(asked.values()) else set()
        number = transaction.names.id
        waiting: dict[Mark, Waiting] = {}
        for handler, marks in asked.items():
            room = self._rooms.get(handler)
            left = 0 if room is None or handler in doors else room.free
            for mark, dependency in marks.items():
                bundle = self._bundles[mark.event]
                if room is None or left <= 0 or dependency in doors:
                    waiting[mark] = Waiting(number(dependency), bundle)
                    continue
                counted = int(room.free - left < room.at_once)
                left -= 1
                waiting[mark] = Waiting(number(dependency), bundle, counted, room.owner, room.lease_seconds)
                self._leased[mark] = room.owner, Lease(mark, 1, 1, 0, dependency, bundle)
        return waiting

    async def keep(
        self,
        transaction: Transaction,
        owned: Mapping[Mark, Item],
        new: Iterable[Mark],
        others: Mapping[Mark, Item],
    ) -> None:
        """Store the records of the pending effects that are this batch's; take those leased among the new.
        `others`: effects that were there already."""
        needed: dict[str, list[RecordKey]] = {}
        for mark in owned:
            event = mark.event
            needed.setdefault(self._bundles[event], []).append(event)
        for bundle, events in needed.items():
            await store_bundle(transaction, bundle, self._parcels[bundle].of(events), len(events))
        for mark in new:
            if mark in self._leased:
                self._take(transaction, self._leased[mark][1], owned[mark])
        if self._lost is not None:
            ours = {mark: leased for mark, leased in self._lost._leased.items() if mark in others}
            still = await still_leased(transaction, ours.values())
            for mark, (_, lease) in ours.items():  # in the order of the items
                if mark in still:
                    self._take(transaction, lease, others[mark])

    def _take(self, transaction: Transaction, lease: Lease, item: Item) -> None:
        handler = transaction.names.word(lease.mark.handler)
        self.taken.setdefault(handler, []).append(Taken(lease, item))
