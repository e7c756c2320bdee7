"""Dead letters: what could not be processed, with its raw bytes, until an operator replays or discards it."""

import hashlib
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.database import Transaction
from storage.payloads import pack_headers, unpack_headers
from storage.rows import Rows
from storage.schema import LetterState

NAMESPACE = uuid.UUID("6f6b2f0e-8a51-5d0c-9a35-3f0f5a0f7c11")
ERROR_CHARACTERS = 1000
E_MAIL = re.compile(r"[^\s@]+@[^\s@]*")
VARIABLE_PARTS = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\b[a-z]+_[0-9A-Za-z]{4,}\b|[0-9]+")


LetterEvent = tuple[str, str | None, str | None]
"""Tenant, redemption id and kind of the event behind a letter."""


class Letter(NamedTuple):
    """A dead letter as it is first stored. `handler` None: no handler could run (Malformed)."""

    id: str
    consumer_group: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    handler: str | None
    tenant: str
    kind: str | None
    redemption_id: str | None
    customer_id: str | None
    reason: str
    error_class: str
    error: str
    attempts: int
    replays: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class StoredLetter(NamedTuple):
    """What it takes to publish or replay a letter."""

    id: str
    consumer_group: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    handler: str | None
    reason: str
    error_class: str
    error: str
    attempts: int
    replays: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def event_of(letter: Letter) -> LetterEvent:
    return letter.tenant, letter.redemption_id, letter.kind


def letter_id(
    group: str, topic: str, partition: int, offset: int, timestamp: int, handler: str | None
) -> str:
    """The UUIDv5 of a letter's origin: the same record that dies again is the same letter."""
    origin = "\x1f".join((group, topic, str(partition), str(offset), str(timestamp), handler or ""))
    return str(uuid.uuid5(NAMESPACE, origin))


def fingerprint(handler: str | None, error_class: str, error: str) -> str:
    """What groups letters of one cause: handler, error class, and the message without its variable parts."""
    normalised = VARIABLE_PARTS.sub("?", error)
    return hashlib.sha256("\x1f".join((handler or "", error_class, normalised)).encode()).hexdigest()[:16]


def clean(text: str, longest: int = ERROR_CHARACTERS) -> str:
    """Text that every database takes, no terminal obeys, and that names nobody: errors quote e-mails."""
    printable = "".join(c if c.isprintable() else "�" for c in text[:longest])
    return E_MAIL.sub("[withheld]", printable)


async def store_letters(transaction: Transaction, letters: Sequence[Letter]) -> None:
    """Store letters; one that is there re-opens if it died in a later replay than it knows of, else stays."""
    await transaction.run_each(
        'INSERT INTO dead_letters (id, consumer_group, topic, partition, "offset", timestamp, handler, '
        "tenant, kind, redemption_id, customer_id, reason, error_class, error, attempts, fingerprint, key, "
        "value, headers, state, replays, first_seen, last_seen) VALUES (:id, :consumer_group, :topic, "
        ":partition, :offset, :timestamp, :handler, :tenant, :kind, :redemption_id, :customer_id, :reason, "
        ":error_class, :error, :attempts, :fingerprint, :key, :value, :headers, "
        f"{LetterState.OPEN}, :replays, {{now}}, {{now}}) "
        "ON CONFLICT (id) DO UPDATE SET state = excluded.state, replays = excluded.replays, "
        "reason = excluded.reason, error_class = excluded.error_class, error = excluded.error, "
        "attempts = excluded.attempts, fingerprint = excluded.fingerprint, last_seen = excluded.last_seen "
        "WHERE dead_letters.replays < excluded.replays",
        [
            letter._asdict()
            | {
                "headers": pack_headers(letter.headers),
                "fingerprint": fingerprint(letter.handler, letter.error_class, letter.error),
            }
            for letter in sorted(letters, key=lambda letter: letter.id)
        ],
    )


async def load_letters(
    transaction: Transaction, ids: Iterable[str], *, only_open: bool = False
) -> dict[str, StoredLetter]:
    rows = await transaction.run(
        'SELECT d.id, d.consumer_group, d.topic, d.partition, d."offset", d.timestamp, d.handler, d.reason, '
        "d.error_class, d.error, d.attempts, d.replays, d.key, d.value, d.headers "
        "FROM {rows} JOIN dead_letters d ON d.id = r.id "
        f"{f'WHERE d.state = {LetterState.OPEN}' if only_open else ''}",
        Rows({"id": "text"}, [(id_,) for id_ in sorted(ids)]),
    )
    return {row.id: StoredLetter._make((*row[:-1], unpack_headers(row.headers))) for row in rows}


async def letters_of_effects(
    transaction: Transaction, group: str, handler: str, events: Iterable[LetterEvent]
) -> dict[LetterEvent, str]:
    """The ids of the letters that a handler's effects for these events have."""
    rows = await transaction.run(
        "SELECT d.id, d.tenant, d.redemption_id, d.kind FROM {rows} JOIN dead_letters d "
        "ON d.redemption_id = r.redemption_id AND d.tenant = r.tenant AND d.kind = r.kind "
        "WHERE d.handler = :handler AND d.consumer_group = :group ORDER BY d.first_seen DESC",
        Rows({"tenant": "text", "redemption_id": "text", "kind": "text"}, events),
        handler=handler,
        group=group,
    )
    return {(row.tenant, row.redemption_id, row.kind): row.id for row in rows}


async def mark_replayed(transaction: Transaction, published: Iterable[tuple[str, int]]) -> int:
    """Letters (id, generation) whose replay record is in the log; returns how many changed.

    One that has died again in that generation already stays open: the worker was quicker than we.
    """
    rows = await transaction.run(
        f"UPDATE dead_letters SET state = {LetterState.REPLAYED} FROM {{rows}} WHERE dead_letters.id = r.id "
        f"AND dead_letters.state = {LetterState.OPEN} AND dead_letters.replays < r.generation "
        "RETURNING dead_letters.id",
        Rows({"id": "text", "generation": "integer"}, sorted(published)),
    )
    return len(rows)
