"""What effect handlers ask for of a batch, and the records behind it, packed: worked out while the database
is busy with the batch before."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from consumer.item import Item, payload_of
from events.event import RedemptionEvent
from events.runtime import Runtime
from handlers.protocol import EffectHandler, TransactionalHandler
from storage.ahead import Ahead
from storage.bundles import RecordKey, bundles_of, pack
from storage.effects import Mark
from storage.names import Names
from storage.schema import KIND_NUMBERS

Marks = dict[int, Mark]
"""The effect that each item asks for, by the item's index in the batch."""


class Parcel(NamedTuple):
    """Records that share a bundle."""

    records: Mapping[RecordKey, Item]
    packed: bytes | None = None
    """None: nobody had the time yet."""

    def of(self, events: Iterable[RecordKey]) -> bytes:
        """These records, packed."""
        wanted = {event: self.records[event] for event in events}
        if self.packed is not None and len(wanted) == len(self.records):
            return self.packed
        return pack({event: payload_of(item.record) for event, item in wanted.items()})


class Asked(NamedTuple):
    marks: Mapping[str, Marks]
    """By handler."""
    parcels: Sequence[Parcel]
    """The records of all of them, each event once."""


class Asking:
    """Tells what a batch asks for, as it was worked out ahead if that still holds."""

    def __init__(self, handlers: Sequence[EffectHandler], runtime: Runtime | None = None) -> None:
        """`runtime`: packs ahead; None: nothing is ever worked out ahead."""
        self._handlers = handlers
        self._runtime = runtime
        self._ahead: Ahead[Asked] = Ahead()

    async def prepare(self, items: Sequence[Item]) -> None:
        """Work out ahead what items of a batch to come ask for."""
        words = {handler.name for handler in self._handlers} | {item.tenant for item in items}
        names, runtime = self._ahead.names(words), self._runtime
        if not self._handlers or names is None or runtime is None:
            return
        asked = _asked_by(self._handlers, items, names)
        parcels = []
        for parcel in asked.parcels:
            # A pause, as the database may have answered meanwhile; and the compressor lets the loop go on.
            packed = await runtime.in_thread(partial(parcel.of, parcel.records))
            parcels.append(parcel._replace(packed=packed))
        self._ahead.keep(items, names, asked._replace(parcels=parcels))

    def asked(self, items: Sequence[Item], names: Names) -> Asked:
        """What the items of a batch ask for; the names must know tenants and handlers."""
        return self._ahead.take(items, names) or _asked_by(self._handlers, items, names)


def addressed(handler: TransactionalHandler | EffectHandler, items: Sequence[Item]) -> list[int]:
    """The indices of the items that a handler might have to do with."""
    kinds, name = handler.kinds, handler.name
    return [
        index
        for index, item in enumerate(items)
        if (event := item.event) and event.kind in kinds and item.addresses(name)
    ]


def marks_of(handler: TransactionalHandler | EffectHandler, items: Sequence[Item], names: Names) -> Marks:
    """The effects that a handler might have of these items."""
    number = names.id(handler.name)
    return {
        index: Mark(names.id(event.tenant), event.redemption_id, number, KIND_NUMBERS[event.kind])
        for index in addressed(handler, items)
        if (event := items[index].event)
    }


def _asked_by(handlers: Sequence[EffectHandler], items: Sequence[Item], names: Names) -> Asked:
    marks = {
        handler.name: {
            index: mark
            for index, mark in marks_of(handler, items, names).items()
            if _wants(handler, items[index])
        }
        for handler in handlers
    }
    records: dict[RecordKey, Item] = {}
    for those in marks.values():
        for index, mark in those.items():
            records.setdefault(mark.event, items[index])
    sizes = ((event, len(item.record.value)) for event, item in records.items())
    return Asked(marks, [Parcel({event: records[event] for event in each}) for each in bundles_of(sizes)])


def _wants(handler: EffectHandler, item: Item) -> bool:
    event, replay = item.meaning, item.replay
    if replay and replay.handler:
        return True  # it did want this one, and an operator asks for it
    try:
        return isinstance(event, RedemptionEvent) and handler.wants(event)
    except Exception:
        # Its own doubt is not ours to judge: it is asked again when the effect runs, where a failure
        # has its tries and its dead letter.
        return True
