"""What a body looks like from afar, told without the decoder: whether another like it was ever decoded.

Junk that some sender's mistake produces must not halt a worker, and a decoder that a deployment broke must.
The outlines of good records tell the two apart; they are stored, as a broken decoder finds no good one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from consumer.item import Item
from events.event import RedemptionEvent
from events.failures import Malformed
from events.kinds import HAPPENINGS
from events.payload import Body, Data
from storage.database import Transaction
from storage.outlines import Outline, known_outlines, store_outlines

SAMPLES = 8
"""Good records looked at in each batch, at most: within a few batches all common outlines are known."""
EACH = 25
"""Of so many good records one is looked at, once the first have been: it takes as long as to decode one."""
FIRST = 100
"""Looked at in any case."""
MOST_KNOWN = 1000
"""Outlines stored by one process: whoever invents more must not fill the table."""


def outline_of(tenant: str, body: bytes) -> Outline | None:
    """Which of the objects that we read a body has, and its event type if it is one of ours. None: no JSON
    object, so no good record looks like it."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    event, data = content.get("event"), content.get("data")
    kind = event.get("type") if isinstance(event, dict) else None
    parts = [kind if isinstance(kind, str) and kind in HAPPENINGS else "-", _names(content, Body)]
    parts += [_names(data, Data)] if isinstance(data, dict) else []
    return Outline(tenant, " | ".join(parts))


def _names(content: Mapping[str, Any], shape: type[msgspec.Struct]) -> str:
    return " ".join(name for name in shape.__struct_fields__ if isinstance(content.get(name), dict))


class Reading(NamedTuple):
    """How reading a batch went, for the guard."""

    indices: Sequence[int]
    """The records that count, in order."""
    deaths: Mapping[int, Malformed]
    """Those that look like good ones and could not be read."""
    learned: frozenset[Outline]
    """Outlines that this transaction has stored."""


class Outlines:
    """Owns which outlines this process has stored."""

    def __init__(self) -> None:
        self._stored: set[Outline] = set()
        self._looks = float(FIRST)
        """That may be taken."""

    async def read(self, transaction: Transaction, items: Sequence[Item]) -> Reading:
        """Which records of a batch count as read, or as not. Stores new outlines."""
        malformed = {
            index: item.meaning
            for index, item in enumerate(items)
            if isinstance(item.meaning, Malformed) and item.replay is None
        }
        looks = {index: outline_of(items[index].tenant, items[index].record.value) for index in malformed}
        known = await known_outlines(transaction, {each for each in looks.values() if each})
        doubtful = {each for each in looks.values() if each} - known
        good = [index for index, item in enumerate(items) if isinstance(item.meaning, RedemptionEvent)]
        # All of them where it matters at once: there may be only one that looks like it.
        first = _first_of(items, good if doubtful else self._some(good))
        new = frozenset(first.keys() - self._stored) if len(self._stored) < MOST_KNOWN else frozenset()
        await store_outlines(transaction, new)
        deaths = {
            index: wrong
            for index, wrong in malformed.items()
            if (look := looks[index]) and (look in known or first.get(look, index) < index)
        }
        return Reading(_counted(items, deaths), deaths, new)

    def _some(self, good: Sequence[int]) -> Sequence[int]:
        self._looks = min(FIRST, self._looks + len(good) / EACH)
        looks = min(SAMPLES, int(self._looks), len(good))
        self._looks -= looks
        return good[:: -(-len(good) // looks)] if looks else ()

    def accept(self, learned: Iterable[Outline]) -> None:
        """The transaction that stored them is committed."""
        self._stored.update(learned)


def _counted(items: Sequence[Item], deaths: Mapping[int, Malformed]) -> Sequence[int]:
    """A replay that dies again loses nothing: its letter is there."""
    if not any(isinstance(item.meaning, Malformed) for item in items):
        return range(len(items))
    return [
        index
        for index, item in enumerate(items)
        if index in deaths or not isinstance(item.meaning, Malformed)
    ]


def _first_of(items: Sequence[Item], indices: Iterable[int]) -> dict[Outline, int]:
    """The outlines of these good records, each with the first that has it."""
    found: dict[Outline, int] = {}
    for index in indices:
        if look := outline_of(items[index].tenant, items[index].record.value):
            found.setdefault(look, index)
    return found
