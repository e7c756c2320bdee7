"""`redemptions dead-letters`: what could not be processed, and trying it again."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from cli.database import ask, opened
from cli.invocation import settings_of
from cli.log import log_of
from cli.loop import run_loop
from cli.options import Json, Limit, iso, milliseconds
from cli.output import JsonList, complain, print_json, safe
from config.settings import Settings
from consumer.replay import replay_letters
from events.runtime import SystemRuntime
from storage.letter_queries import LetterFilter, find_letters, show_letter
from storage.payloads import unpack_headers
from storage.schema import LetterState

app = typer.Typer(help="Dead letters.", no_args_is_help=True)

Reason = Annotated[str | None, typer.Option("--reason")]
Handler = Annotated[str | None, typer.Option("--handler")]
Redemption = Annotated[str | None, typer.Option("--redemption")]
Customer = Annotated[str | None, typer.Option("--customer")]
TenantFilter = Annotated[str | None, typer.Option("--tenant")]
Since = Annotated[datetime | None, typer.Option("--since", help="Last seen at this time (UTC) or later.")]
Until = Annotated[datetime | None, typer.Option("--until", help="First seen before this time (UTC).")]
StateName = Annotated[str, typer.Option("--state", help="open, replayed, discarded or all.")]


def _filter(
    state: str,
    reason: str | None,
    handler: str | None,
    redemption: str | None,
    customer: str | None,
    tenant: str | None,
    since: datetime | None,
    until: datetime | None,
) -> LetterFilter:
    names = [known.name.lower() for known in LetterState]
    if state not in (*names, "all"):
        raise typer.BadParameter(f"--state is one of {', '.join(names)}, all")
    return LetterFilter(
        state=None if state == "all" else LetterState[state.upper()],
        tenant=tenant,
        reason=reason,
        handler=handler,
        redemption_id=redemption,
        customer_id=customer,
        since=milliseconds(since),
        until=milliseconds(until),
    )


@app.command("list")
def list_(
    context: typer.Context,
    state: StateName = "open",
    reason: Reason = None,
    handler: Handler = None,
    redemption: Redemption = None,
    customer: Customer = None,
    tenant: TenantFilter = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Dead letters, the oldest first."""
    wanted = _filter(state, reason, handler, redemption, customer, tenant, since, until)
    run_loop(_list(settings_of(context), wanted, limit, as_json))


async def _list(settings: Settings, wanted: LetterFilter, limit: int | None, as_json: bool) -> None:
    async with opened(settings) as database, database.snapshot() as snapshot:
        with JsonList(as_json) as answer:
            async for row in find_letters(snapshot, wanted, limit):
                letter = _listed(row)
                if as_json:
                    answer.add(letter)
                else:
                    print("  ".join(safe(letter[name] or "-") for name in SHOWN), flush=True)


SHOWN = ("id", "state", "handler", "reason", "redemption_id", "customer_id", "attempts", "last_seen", "error")


def _listed(row: Any) -> dict[str, Any]:
    letter = dict(row._mapping)
    letter["state"] = LetterState(row.state).name.lower()
    letter["first_seen"], letter["last_seen"] = iso(row.first_seen), iso(row.last_seen)
    return letter


@app.command()
def show(context: typer.Context, letter: str, as_json: Json = False) -> None:
    """One letter: body, headers, error, origin. Exit code 1: there is none of this id."""
    row = ask(settings_of(context), lambda snapshot: show_letter(snapshot, letter))
    if row is None:
        complain(f"no dead letter has the id {letter}")
        raise typer.Exit(1)
    shown = _listed(row)
    shown["headers"] = [[name, _readable(value)] for name, value in unpack_headers(row.headers)]
    shown["key"], shown["body"] = _readable(row.key), _readable(row.value)
    del shown["value"]
    if as_json:
        shown["body_base64"] = base64.b64encode(row.value).decode()
        print_json(shown)
        return
    for name, value in shown.items():
        print(f"{name:<16} {safe(value)}")


def _readable(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


@app.command()
def replay(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    reason: Reason = None,
    handler: Handler = None,
    redemption: Redemption = None,
    customer: Customer = None,
    tenant: TenantFilter = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[bool, typer.Option("--all", help="Needed for more than one letter.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell how many.")] = False,
    as_json: Json = False,
) -> None:
    """Put open letters back on the events topic, each for the handler that failed; returns once published."""
    settings = settings_of(context)
    wanted = _filter("open", reason, handler, redemption, customer, tenant, since, until)
    if not ids and wanted == LetterFilter() and not every:
        raise typer.BadParameter("which letters? give ids, a filter, or --all")
    chosen = run_loop(_chosen(settings, ids or [], wanted))
    if len(chosen) > 1 and not every and not dry_run and not ids:
        raise typer.BadParameter(f"{len(chosen)} letters match: give --all to replay them")
    replayed = 0 if dry_run else run_loop(_replay(settings, chosen))
    if as_json:
        print_json({"matched": len(chosen), "replayed": replayed, "dry_run": dry_run})
    else:
        print(f"{len(chosen)} would be replayed" if dry_run else f"{replayed} replayed")
    if not chosen and ids:
        raise typer.Exit(1)


async def _chosen(settings: Settings, ids: Sequence[str], wanted: LetterFilter) -> list[str]:
    async with opened(settings) as database, database.snapshot() as snapshot:
        found = [row.id async for row in find_letters(snapshot, wanted)]
    return [letter for letter in found if letter in set(ids)] if ids else found


async def _replay(settings: Settings, ids: Sequence[str]) -> int:
    producer = log_of(settings, SystemRuntime()).producer()
    await producer.start()
    try:
        async with opened(settings) as database:
            return await replay_letters(database, producer, settings.events_topic, ids)
    finally:
        await producer.stop()
