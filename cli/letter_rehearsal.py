"""`redemptions dead-letters replay --dry-run`: what a replay would come to, without writing anything."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from broker.protocols import Record
from cli.database import opened
from cli.letter_options import NOBODY
from cli.output import print_json, safe
from cli.points_policy import policy_in
from config.settings import Settings
from consumer.item import read_item
from events.event import RedemptionEvent
from events.failures import Malformed
from events.runtime import SystemRuntime
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.rehearsal import Rehearsal
from storage.database import Transaction
from storage.letter_queries import EXPORTED, NO_HANDLER, LetterFilter, count_by_handler, find_letters
from storage.payloads import unpack_headers
from storage.row import Row
from storage.scratch import scratch

EVENTS = 200
"""In one batch: their bodies are in memory together."""
ACCOUNTS = 20
"""Shown to people; programs get them all."""


async def rehearse(settings: Settings, chosen: LetterFilter, as_json: bool) -> None:
    """Count the letters by handler, and have the ledger's part played on a copy."""
    unreadable: Counter[str] = Counter()
    async with (
        opened(settings) as database,
        database.snapshot() as snapshot,
        scratch(SystemRuntime()) as copy,
    ):
        handlers = await count_by_handler(snapshot, chosen)
        ledger = Rehearsal(snapshot, copy, policy_in(settings))
        await ledger.begin()
        async for events in _batches(snapshot, chosen, unreadable):
            await ledger.play(events)
        changes = await ledger.changes()
    told = {
        "matched": sum(handlers.values()),
        "replayed": 0,
        "dry_run": True,
        "handlers": {handler or NOBODY: letters for handler, letters in handlers.items()},
        "unreadable": dict(unreadable),
        "ledger": {
            "events": ledger.applied,
            "refused": dict(ledger.refused),
            "points": sum(change.points for change in changes),
            "customers": [change._asdict() for change in changes],
        },
    }
    if as_json:
        print_json(told)
    else:
        _print(told)


async def _batches(
    snapshot: Transaction, chosen: LetterFilter, unreadable: Counter[str]
) -> AsyncIterator[list[RedemptionEvent]]:
    """What the ledger would be given: its own letters, and those that nobody could read but now can."""
    events: list[RedemptionEvent] = []
    for handler in (Loyalty.name, NO_HANDLER):
        if chosen.handler not in (None, handler):
            continue
        async for row in find_letters(snapshot, chosen._replace(handler=handler), columns=EXPORTED):
            meaning = read_item(_record(row), row.consumer_group).meaning
            if isinstance(meaning, Malformed):
                unreadable[meaning.reason] += 1
            elif isinstance(meaning, RedemptionEvent):
                events.append(meaning)
            if len(events) == EVENTS:
                yield events
                events = []
    if events:
        yield events


def _record(row: Row) -> Record:
    place = row.topic, row.partition, row.offset, row.timestamp
    return Record(*place, row.key, row.value, unpack_headers(row.headers))


def _print(told: dict[str, Any]) -> None:
    print(f"{told['matched']} would be replayed")
    for handler, letters in told["handlers"].items():
        print(f"  {letters}  {safe('read anew, for all handlers' if handler == NOBODY else handler)}")
    for reason, letters in told["unreadable"].items():
        print(f"  {letters}  still cannot be read: {safe(reason)}")
    ledger = told["ledger"]
    for reason, events in ledger["refused"].items():
        print(f"  {events}  would be refused by the ledger again: {safe(reason)}")
    print(f"ledger: {ledger['points']:+d} points, {len(ledger['customers'])} accounts")
    for change in ledger["customers"][:ACCOUNTS]:
        print(f"  {change['points']:+d}  {safe(change['customer_id'])}  {safe(change['tenant'])}")
    if len(ledger["customers"]) > ACCOUNTS:
        print(f"  and {len(ledger['customers']) - ACCOUNTS} more: --json tells them all")
