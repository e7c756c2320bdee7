"""`redemptions effects`: what was done for a redemption, by whom, and what is still to come."""

from typing import Any

import typer

from cli.database import ask
from cli.invocation import settings_of
from cli.options import TENANT, Json, Tenant, iso
from cli.output import print_json, table
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.report import marks
from storage.database import Transaction
from storage.effect_queries import effects_of
from storage.schema import KINDS, State

app = typer.Typer(help="Effects of redemptions.", no_args_is_help=True)
COLUMNS = ("tenant", "handler", "kind", "state", "attempts", "due_at", "last_error")


@app.callback()
def effects() -> None:
    """Effects of redemptions."""


@app.command()
def show(context: typer.Context, redemption: str, tenant: Tenant = TENANT, as_json: Json = False) -> None:
    """All effects of one redemption. Exit code 1: nothing is known of it."""
    found = ask(settings_of(context), lambda snapshot: _effects(snapshot, tenant, redemption))
    if as_json:
        print_json(found)
    else:
        table(COLUMNS, [[effect[column] for column in COLUMNS] for effect in found])
    if not found:
        raise typer.Exit(1)


async def _effects(snapshot: Transaction, tenant: str, redemption: str) -> list[dict[str, Any]]:
    number = snapshot.names.find(tenant)
    if number is None:
        return []
    found = {
        (Loyalty.name, mark.kind): _effect(tenant, Loyalty.name, mark.kind, mark.state, 1, None, mark.reason)
        for mark in await marks(snapshot, tenant, redemption)
    }
    for row in await effects_of(snapshot, number, redemption):
        handler, kind = snapshot.names.word(row.handler), KINDS[row.kind]
        state = State(row.state).name.lower()
        effect = _effect(tenant, handler, kind, state, row.attempts, iso(row.due_at), row.last_error)
        # The ledger's own mark says what was done; a row beside it only that some delivery was refused.
        found.setdefault((handler, kind), effect)
    return [found[key] for key in sorted(found)]


def _effect(*values: Any) -> dict[str, Any]:
    return dict(zip(COLUMNS, values, strict=True))
