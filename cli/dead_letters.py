"""`redemptions dead-letters`: what could not be processed, looked at, counted, tried again, put aside."""

import base64
from typing import Any

import typer

from cli.database import ask, opened
from cli.invocation import settings_of
from cli.letter_export import export
from cli.letter_jobs import discard, replay
from cli.letter_options import filtered
from cli.loop import run_loop
from cli.options import Json, Limit, iso
from cli.output import JsonList, complain, print_json, safe, table
from config.settings import Settings
from storage.database import Transaction
from storage.fingerprint import normalised
from storage.letter_history import history_of
from storage.letter_queries import Group, LetterFilter, find_letters, group_letters, show_letter
from storage.payloads import unpack_headers
from storage.schema import LetterEvent, LetterState

app = typer.Typer(help="Dead letters.", no_args_is_help=True)
SHOWN = ("id", "state", "handler", "reason", "redemption_id", "customer_id", "attempts", "last_seen", "error")
GROUPED = ("letters", "died_again", "first_seen", "last_seen", "handler", "fingerprint", "message")


def list_(context: typer.Context, wanted: LetterFilter, limit: Limit = None, as_json: Json = False) -> None:
    """Dead letters, the oldest first."""
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


def stats(context: typer.Context, wanted: LetterFilter, limit: Limit = None, as_json: Json = False) -> None:
    """Dead letters by cause, the largest groups first: handler, error class, and the message without what
    varies in it. With the fingerprint of a group, every other command is about that group."""
    run_loop(_stats(settings_of(context), wanted, limit, as_json))


async def _stats(settings: Settings, wanted: LetterFilter, limit: int | None, as_json: bool) -> None:
    lines = []
    async with opened(settings) as database, database.snapshot() as snapshot:
        with JsonList(as_json) as answer:
            async for group in group_letters(snapshot, wanted, limit):
                told = _group(group)
                if as_json:
                    answer.add(told)
                else:
                    lines.append([told[name] for name in GROUPED])
    if not as_json:
        table(GROUPED, lines)


def _group(group: Group) -> dict[str, Any]:
    told = group._asdict() | {"message": normalised(group.error)}
    del told["error"]
    return told | {"first_seen": iso(group.first_seen), "last_seen": iso(group.last_seen)}


def show(context: typer.Context, letter: str, as_json: Json = False) -> None:
    """One letter: body, headers, error, origin, history. Exit code 1: there is none of this id."""
    shown = ask(settings_of(context), lambda snapshot: _shown(snapshot, letter))
    if shown is None:
        complain(f"no dead letter has the id {letter}")
        raise typer.Exit(1)
    if as_json:
        print_json(shown)
        return
    history = shown.pop("history")
    del shown["body_base64"]
    for name, value in shown.items():
        print(f"{name:<16} {safe('' if value is None else value)}")
    print("history")
    for each in history:
        print("  " + "  ".join(safe(value) for value in each.values() if value is not None))


async def _shown(snapshot: Transaction, letter: str) -> dict[str, Any] | None:
    row = await show_letter(snapshot, letter)
    if row is None:
        return None
    shown = _listed(row)
    value = shown.pop("value")
    shown["headers"] = [[name, _readable(each)] for name, each in unpack_headers(row.headers)]
    shown["key"], shown["body"] = _readable(row.key), _readable(value)
    shown["body_base64"] = base64.b64encode(value).decode()
    shown["history"] = [
        {
            "at": iso(each.at),
            "generation": each.generation,
            "event": LetterEvent(each.event).name.lower(),
            "reason": each.reason,
            "error": each.error,
            "who": each.who,
            "why": each.why,
            "job": each.job,
        }
        for each in await history_of(snapshot, letter)
    ]
    return shown


def _listed(row: Any) -> dict[str, Any]:
    letter: dict[str, Any] = row._asdict()
    letter["state"] = LetterState(row.state).name.lower()
    letter["first_seen"], letter["last_seen"] = iso(row.first_seen), iso(row.last_seen)
    return letter


def _readable(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


app.command("list")(filtered(list_))
app.command()(show)
app.command()(filtered(stats))
app.command()(filtered(export))
app.command()(filtered(replay))
app.command()(filtered(discard, own_reason=True))
