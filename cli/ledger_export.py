"""`redemptions ledger export`: entries as CSV that no spreadsheet takes for formulas, or as JSON lines."""

import csv
import sys
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.options import TENANT, Tenant, milliseconds
from cli.output import harmless
from config.settings import Settings
from handlers.loyalty.report import ExportedEntry, exported


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


def export(
    context: typer.Context,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Posted at this time (UTC) or later.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Posted before this time (UTC).")] = None,
    format: Annotated[Format, typer.Option("--format")] = Format.CSV,
    tenant: Tenant = TENANT,
) -> None:
    """All entries of a time, the oldest first, with what they come from."""
    run_loop(_export(settings_of(context), tenant, milliseconds(since), milliseconds(until), format))


async def _export(
    settings: Settings, tenant: str, since: int | None, until: int | None, format: Format
) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\r\n")
    if format is Format.CSV:
        rows.writerow(ExportedEntry.__struct_fields__)
    async with opened(settings) as database, database.snapshot() as snapshot:
        async for entry in exported(snapshot, tenant, since, until):
            if format is Format.CSV:
                rows.writerow(cells(entry))
            else:
                print(msgspec.json.encode(entry).decode())


def cells(entry: ExportedEntry) -> list[str | int]:
    """A row of CSV. Text that a spreadsheet would compute gets an apostrophe; points are a number of ours."""
    values = msgspec.structs.asdict(entry) | {"inputs": msgspec.json.encode(entry.inputs).decode()}
    return [value if isinstance(value, int) else harmless(value or "") for value in values.values()]
