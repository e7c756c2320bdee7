"""`redemptions dead-letters export`: letters with all they hold, as JSON lines or CSV."""

import base64
import csv
import json
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.options import Limit, iso
from cli.output import harmless
from config.settings import Settings
from storage.letter_queries import EXPORTED, LetterFilter, find_letters
from storage.payloads import unpack_headers
from storage.row import Row
from storage.schema import LetterState

FIELDS = (
    "id", "state", "reason", "handler", "tenant", "kind", "redemption_id", "customer_id", "error_class",
    "error", "fingerprint", "attempts", "replays", "first_seen", "last_seen", "consumer_group", "topic",
    "partition", "offset", "timestamp", "key", "headers", "body", "body_base64",
)  # fmt: skip


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


def export(
    context: typer.Context,
    wanted: LetterFilter,
    format: Annotated[Format, typer.Option("--format")] = Format.JSONL,
    limit: Limit = None,
) -> None:
    """Letters with bodies and headers, the oldest first. In CSV no cell is a formula."""
    run_loop(_export(settings_of(context), wanted, format, limit))


async def _export(settings: Settings, wanted: LetterFilter, format: Format, limit: int | None) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\r\n")
    if format is Format.CSV:
        rows.writerow(FIELDS)
    async with opened(settings) as database, database.snapshot() as snapshot:
        async for row in find_letters(snapshot, wanted, limit, EXPORTED):
            letter = _exported(row)
            if format is Format.CSV:
                rows.writerow([_cell(letter[name]) for name in FIELDS])
            else:
                print(json.dumps({name: letter[name] for name in FIELDS}))


def _exported(row: Row) -> dict[str, Any]:
    return row._asdict() | {
        "state": LetterState(row.state).name.lower(),
        "first_seen": iso(row.first_seen),
        "last_seen": iso(row.last_seen),
        "key": None if row.key is None else _readable(row.key),
        "headers": [[name, _readable(value)] for name, value in unpack_headers(row.headers)],
        "body": _readable(row.value),
        "body_base64": base64.b64encode(row.value).decode(),
    }


def _readable(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _cell(value: Any) -> str | int:
    if isinstance(value, int):
        return value
    text = json.dumps(value) if isinstance(value, list) else value or ""
    # What CSV cannot hold in every reader: NUL, half a surrogate pair.
    return harmless(text.replace("\0", "\\x00"))
