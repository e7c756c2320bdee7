"""`redemptions config show`: what is set, what holds by default, what is wrong; no secrets."""

from typing import Annotated

import typer

from cli.invocation import invocation_of
from cli.output import complain, print_json, table
from config.load import check
from config.masking import masked

app = typer.Typer(help="The settings in force.")


@app.callback()
def config() -> None:
    """The settings in force."""


@app.command()
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show every setting, secrets masked. Exit code 1 when a setting is wrong."""
    given = invocation_of(context).given()
    _, faults = check(given)
    shown = masked(given)
    if as_json:
        settings = {name: {"value": each.value, "from": each.origin} for name, each in shown.items()}
        print_json({"settings": settings, "faults": faults})
    else:
        table(("setting", "value", "from"), [(name, *each) for name, each in shown.items()])
        for fault in faults:
            complain(fault)
    if faults:
        raise typer.Exit(1)
