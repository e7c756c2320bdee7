"""`redemptions loyalty`: looking at a points policy before it is in force."""

from pathlib import Path
from typing import Annotated

import typer

from cli.forecasting import what_if
from cli.output import safe
from handlers.loyalty.policy_file import read_policy
from handlers.tables import WrongPolicy

app = typer.Typer(help="The points policy.", no_args_is_help=True)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A policy file (TOML).")]) -> None:
    """Whether a policy file can be used; a line for each fault. Exit code 1: it cannot."""
    try:
        policy = read_policy(file)
    except WrongPolicy as wrong:
        for fault in wrong.faults:
            print(safe(f"{file}: {fault}"))
        raise typer.Exit(1) from None
    versions = ", ".join(version.version for version in policy.versions)
    print(safe(f"{file}: fine; versions {versions}; fingerprint {policy.fingerprint}"))


app.command("what-if")(what_if)
