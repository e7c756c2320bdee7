"""`redemptions handlers`: which there are, what waits and what died, and having one stand still."""

from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from cli.database import ask, opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.operator import deed_of, operator
from cli.options import Json, iso, line
from cli.output import complain, print_json, safe, table
from cli.points_policy import policy_in
from cli.worker_handlers import handlers_in
from config.settings import Settings
from consumer.letters import DEAD_LETTER_TOPIC
from events.failures import Misconfigured
from events.runtime import SystemRuntime
from storage.audit import Deed, announce, conclude
from storage.database import Transaction
from storage.effect_queries import counts_by_handler
from storage.handler_states import (
    DECODING,
    HandlerState,
    Standing,
    handler_states,
    resume_handler,
    stop_handler,
)
from storage.letter_queries import count_unread
from storage.schema import State

app = typer.Typer(help="Handlers: list, pause, resume.", no_args_is_help=True)
COLUMNS = ("name", "type", "state", "by", "since", "reason", "pending", "dead")

Name = Annotated[str, typer.Argument(metavar="HANDLER", callback=line)]
Reason = Annotated[str, typer.Option("--reason", callback=line, help="Why, for the audit and for others.")]


@app.callback()
def handlers() -> None:
    """Handlers: list, pause, resume."""


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """Every handler: whether it runs, since when and by whom not, and its pending and dead effects."""
    settings = settings_of(context)
    types = _types(settings)
    found = ask(settings, lambda snapshot: _listed(snapshot, types))
    if as_json:
        print_json(found)
    else:
        table(COLUMNS, [[each[column] for column in COLUMNS] for each in found])


@app.command()
def pause(context: typer.Context, handler: Name, reason: Reason = "", as_json: Json = False) -> None:
    """Have a handler stand still in all workers until it is resumed. Nothing is lost or given up meanwhile.

    Effects of an effect handler wait, and intake goes on; a transactional handler, or `decoding`, stops the
    intake of every group that runs it.
    """
    settings = settings_of(context)
    _require_known(settings, handler)

    async def stop(transaction: Transaction) -> bool:
        return await stop_handler(transaction, handler, Standing.PAUSED, operator(), reason)

    deed = deed_of("handlers pause", {}, reason=reason or None, subject=handler)
    changed, state = run_loop(_change(settings, deed, handler, stop))
    _answer(handler, state, changed, as_json)


@app.command()
def resume(
    context: typer.Context,
    handler: Name,
    accept: Annotated[
        int,
        typer.Option(
            "--accept", metavar="N", min=0, help="Let so many events die before the guard counts again."
        ),
    ] = 0,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Let a handler run again, whoever stopped it. One that the guard halted goes on with the first record
    that it did not commit; if its records die again, it halts again."""
    settings = settings_of(context)
    _require_known(settings, handler)

    async def start(transaction: Transaction) -> bool:
        return await resume_handler(transaction, handler, operator(), reason, accept)

    deed = deed_of("handlers resume", {"accept": accept}, reason=reason or None, subject=handler)
    changed, state = run_loop(_change(settings, deed, handler, start))
    _answer(handler, state, changed, as_json)


async def _change(
    settings: Settings, deed: Deed, handler: str, change: Callable[[Transaction], Awaitable[bool]]
) -> tuple[bool, HandlerState | None]:
    async with opened(settings) as database:
        await announce(database, deed)
        async with database.transaction() as transaction:
            changed = await change(transaction)
            await conclude(transaction, deed, {"changed": int(changed)})
            return changed, (await handler_states(transaction)).get(handler)


def _answer(handler: str, state: HandlerState | None, changed: bool, as_json: bool) -> None:
    shown = _state(state)
    if as_json:
        print_json({"name": handler, **shown, "changed": changed})
        return
    told = f"{handler}: {'' if changed else 'was already '}{shown['state']}"
    if state and state.stands:
        told += f" by {state.who} since {shown['since']}" + (f" ({state.reason})" if state.reason else "")
    if state and state.allowance:
        told += f"; {state.allowance} may die before the guard counts"
    print(safe(told))


def _types(settings: Settings) -> dict[str, str]:
    """What each handler of the settings is."""
    known = handlers_in(settings, policy_in(settings), SystemRuntime())
    types = {DECODING: DECODING}
    types |= {handler.name: "transactional" for handler in known.transactional}
    types |= {handler.name: "effect" for handler in known.effect}
    return types | {DEAD_LETTER_TOPIC: "effect"}


async def _listed(snapshot: Transaction, types: dict[str, str]) -> list[dict[str, Any]]:
    states = await handler_states(snapshot)
    pending = await counts_by_handler(snapshot, State.PENDING)
    dead = await counts_by_handler(snapshot, State.DEAD)
    dead[DECODING] = await count_unread(snapshot)
    others = sorted({*states, *pending, *dead} - types.keys())
    return [
        {
            "name": name,
            "type": types.get(name),
            **_state(states.get(name)),
            "pending": pending.get(name, 0),
            "dead": dead.get(name, 0),
        }
        for name in (*types, *others)
    ]


def _state(state: HandlerState | None) -> dict[str, Any]:
    if state is None or not state.stands:
        return {"state": "running", "by": None, "since": None, "reason": None}
    return {
        "state": state.standing.name.lower(),
        "by": state.who,
        "since": iso(state.changed_at),
        "reason": state.reason or None,
    }


def _require_known(settings: Settings, handler: str) -> None:
    """Raise BadParameter for what is most likely a slip. A handler that does not run any more may still have
    effects, and one that cannot be loaded must be resumable all the same."""
    try:
        known = set(_types(settings))
    except Misconfigured as wrong:
        complain(str(wrong))
        known = {DECODING, DEAD_LETTER_TOPIC}
    if handler in known:
        return
    known |= {each["name"] for each in ask(settings, lambda snapshot: _listed(snapshot, {}))}
    if handler not in known:
        nearest = get_close_matches(handler, known, n=1, cutoff=0.0)[0]
        raise typer.BadParameter(f"no handler has the name {handler}; did you mean {nearest}?")
