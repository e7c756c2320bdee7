"""What a batch holds of erased customers from before their erasure: nobody is called, nothing of it is kept.

A record counts as from before if its time in the log is, or the date of what it tells: history that is read
again has old times, what Voucherify resends or a reconciliation brings has old dates. A replay has the time
of the record that died. Handlers that keep nothing but ids and numbers (the ledger) still learn of it.
"""

from collections.abc import Iterable, Iterator, Sequence

import structlog
from msgspec.structs import replace

from consumer.item import Item
from events.event import Ignored
from events.failures import Malformed
from events.ids import customer_ids, is_fit
from events.keys import customers_of
from events.moments import happened_at
from handlers.protocol import EffectHandler, Handlers, TransactionalHandler
from storage.customer_search import customers_known
from storage.database import Transaction
from storage.dead_letters import timestamps_of
from storage.effects import Mark, insert_effects, set_effects
from storage.erasures import Customer, any_erasure, erasures_of
from storage.schema import KIND_NUMBERS, State

log = structlog.get_logger(__name__)

ERASED = "erased"
"""The reason code of what was skipped."""


async def silence(transaction: Transaction, items: Sequence[Item], handlers: Handlers) -> Sequence[Item]:
    """The items, those of erased customers without what is personal and addressed to the ledger alone.

    The effects that they would have had are stored as skipped; the names in use must be known.
    """
    if not await any_erasure(transaction):
        return items
    named = await _named(transaction, items)
    erased = await erasures_of(transaction, {customer for each in named.values() for customer in each})
    if not erased:
        return items
    died = await timestamps_of(transaction, {item.replay.letter for item in items if item.replay})
    silenced = {
        index: items[index]
        for index, customers in named.items()
        if any(_time(items[index], died) < erased[each] for each in customers & erased.keys())
    }
    await _skip(transaction, silenced.values(), handlers)
    if silenced:
        log.info("erased_customers_silenced", records=len(silenced))
    bearing = frozenset(handler.name for handler in handlers.transactional if keeps_ids_only(handler))
    return [_stripped(item, bearing) if index in silenced else item for index, item in enumerate(items)]


def keeps_ids_only(handler: TransactionalHandler) -> bool:
    return bool(getattr(handler, "keeps_ids_only", False))


async def _named(transaction: Transaction, items: Sequence[Item]) -> dict[int, set[Customer]]:
    """Whose each item is, by its index; who its body leaves out the ledger may know."""
    named = {index: set(_customers(item)) for index, item in enumerate(items)}
    number = transaction.names.id
    nameless = {
        index: (number(event.tenant), event.redemption_id)
        for index, customers in named.items()
        if not customers and (event := items[index].event)
    }
    known = await customers_known(transaction, nameless.values())
    named |= {index: {(items[index].tenant, known[key])} for index, key in nameless.items() if key in known}
    return {index: customers for index, customers in named.items() if customers}


def _customers(item: Item) -> Iterator[Customer]:
    if item.event:
        yield from ((item.tenant, id) for id in customer_ids(item.event.data) if is_fit(id))
    elif isinstance(item.meaning, Malformed):
        named = customers_of(item.record.value)
        # The key of a body that names nobody is the id of an order or a redemption.
        ids = {_text(item.record.key)} if named is None else named
        yield from ((item.tenant, id) for id in ids if is_fit(id))


def _text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None


def _time(item: Item, died: dict[str, int]) -> int:
    """The earliest moment that anything tells of."""
    recorded = item.record.timestamp
    if item.replay:
        recorded = died.get(item.replay.letter, recorded)
    happened = happened_at(item.event) if item.event else None
    return recorded if happened is None else min(recorded, happened)


def _stripped(item: Item, bearing: frozenset[str]) -> Item:
    record = item.record._replace(key=None, value=b"", headers=())
    if item.event and (item.replay is None or item.replay.handler in {None, *bearing}):
        return replace(item, record=record, only=bearing)
    return replace(item, record=record, meaning=Ignored(ERASED))


async def _skip(transaction: Transaction, items: Iterable[Item], handlers: Handlers) -> None:
    """Marks for what would have been done; those that are there stay as they are.

    Before the marks of the batch, so out of the order of locks: two workers that meet over the same erased
    customer are told apart by the database, and one begins anew.
    """
    silent: list[TransactionalHandler | EffectHandler] = [
        handler for handler in handlers.transactional if not (keeps_ids_only(handler) or handler.keeps_marks)
    ]
    silent += handlers.effect
    names = transaction.names
    marks = {
        Mark(names.id(event.tenant), event.redemption_id, names.id(handler.name), KIND_NUMBERS[event.kind])
        for item in items
        if (event := item.event) and not item.replay
        for handler in silent
        if event.kind in handler.kinds
    }
    new = await insert_effects(transaction, dict.fromkeys(marks, State.SKIPPED))
    await set_effects(transaction, dict.fromkeys(new, (State.SKIPPED, 0, ERASED)))
