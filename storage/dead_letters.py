"""Dead letters: what could not be processed, with its raw bytes, until an operator replays or discards it."""

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.database import Transaction
from storage.fingerprint import fingerprint
from storage.letter_history import Happening, note
from storage.payloads import pack_headers, unpack_headers
from storage.rows import Rows
from storage.schema import LetterEvent, LetterState

NAMESPACE = uuid.UUID("6f6b2f0e-8a51-5d0c-9a35-3f0f5a0f7c11")
ERROR_CHARACTERS = 1000
E_MAIL = re.compile(r"[^\s@]+@[^\s@]*")


EventKey = tuple[str, str | None, str | None]
"""Tenant, redemption id and kind of the event behind a letter."""


class Letter(NamedTuple):
    """A dead letter. `handler` None: no handler could run (Malformed)."""

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


def event_of(letter: Letter) -> EventKey:
    return letter.tenant, letter.redemption_id, letter.kind


def letter_id(
    group: str, topic: str, partition: int, offset: int, timestamp: int, handler: str | None
) -> str:
    """The UUIDv5 of a letter's origin: the same record that dies again is the same letter."""
    origin = "\x1f".join((group, topic, str(partition), str(offset), str(timestamp), handler or ""))
    return str(uuid.uuid5(NAMESPACE, origin))


def clean(text: str, longest: int = ERROR_CHARACTERS) -> str:
    """Text that every database takes, no terminal obeys, and that names nobody: errors quote e-mails."""
    printable = "".join(c if c.isprintable() else "�" for c in text[:longest])
    return E_MAIL.sub("[withheld]", printable)


async def store_letters(transaction: Transaction, letters: Sequence[Letter]) -> None:
    """Store letters; one that is there re-opens if it died in a later replay than it knows of, else stays."""
    ordered = sorted(letters, key=lambda letter: letter.id)
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
            for letter in ordered
        ],
    )
    happenings = [Happening(letter.id, letter.replays, letter.reason, letter.error) for letter in ordered]
    await note(transaction, LetterEvent.DIED, happenings)


async def load_letters(
    transaction: Transaction, ids: Iterable[str], states: Iterable[LetterState] = LetterState
) -> dict[str, Letter]:
    """Letters by id, as far as there are any in these states that were not erased."""
    columns = ", ".join(f'd."{column}"' for column in Letter._fields)
    among = ", ".join(str(int(state)) for state in states)
    rows = await transaction.run(
        f"SELECT {columns} FROM {{rows}} JOIN dead_letters d ON d.id = r.id "
        f"WHERE d.state IN ({among}) AND d.erased_at IS NULL",
        Rows({"id": "text"}, [(id_,) for id_ in sorted(ids)]),
    )
    return {row.id: Letter._make((*row[:-1], unpack_headers(row.headers))) for row in rows}


async def timestamps_of(transaction: Transaction, ids: Iterable[str]) -> dict[str, int]:
    """When the records behind these letters were put on the log, in milliseconds since 1970."""
    rows = await transaction.run(
        "SELECT d.id, d.timestamp FROM {rows} JOIN dead_letters d ON d.id = r.id",
        Rows({"id": "text"}, [(id_,) for id_ in sorted(ids)]),
    )
    return {row.id: row.timestamp for row in rows}


async def letters_of_effects(
    transaction: Transaction, group: str, handler: str, events: Iterable[EventKey]
) -> dict[EventKey, str]:
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
