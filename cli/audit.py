"""`redemptions audit`: what operators did, and how it ended."""

from datetime import datetime
from typing import Annotated, Any

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.options import Json, Limit, iso, line, milliseconds
from cli.output import JsonList, safe
from config.settings import Settings
from storage.audit_queries import AuditedDeed, AuditFilter, read_audit

app = typer.Typer(help="What operators did.", no_args_is_help=True)


@app.callback()
def audit() -> None:
    """What operators did."""


@app.command("list")
def list_(
    context: typer.Context,
    who: Annotated[str | None, typer.Option("--who", callback=line, help="By this user.")] = None,
    action: Annotated[
        str | None, typer.Option("--action", callback=line, help="Such as 'dead-letters replay'.")
    ] = None,
    since: Annotated[datetime | None, typer.Option("--since", help="At this time (UTC) or later.")] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Before this time (UTC).")] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Who did what and why, the newest first. Without an outcome: it goes on, or its process was killed."""
    wanted = AuditFilter(who, action, milliseconds(since), milliseconds(until))
    run_loop(_list(settings_of(context), wanted, limit, as_json))


async def _list(settings: Settings, wanted: AuditFilter, limit: int | None, as_json: bool) -> None:
    async with opened(settings) as database, database.snapshot() as snapshot:
        with JsonList(as_json) as answer:
            async for deed in read_audit(snapshot, wanted, limit):
                if as_json:
                    answer.add(deed._asdict() | {"at": iso(deed.at), "ended_at": iso(deed.ended_at)})
                else:
                    print(_line(deed), flush=True)


def _line(deed: AuditedDeed) -> str:
    parts: list[Any] = [iso(deed.at), deed.who, deed.action, deed.tenant, deed.subject]
    parts += [_pairs(deed.what), deed.reason and f"({deed.reason})", deed.outcome or "no result"]
    parts += [_pairs(deed.counts), deed.error]
    return "  ".join(safe(part) for part in parts if part)


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())
