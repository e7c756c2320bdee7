"""The `redemptions` command: which command lives where, and how every failure ends as one line."""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cli.invocation import Invocation
from cli.output import complain
from config.load import WrongSettings
from events.failures import Failure, Misconfigured

WRONG_USE = 2
INTERRUPTED = 130

COMMANDS = {
    "run": "cli.run",
    "ingress": "cli.run",
    "worker": "cli.run",
    "send": "cli.send",
    "sign": "cli.send",
    "traffic": "cli.traffic",
    "status": "cli.status",
    "ledger": "cli.ledger",
    "loyalty": "cli.loyalty",
    "notifications": "cli.notifications",
    "effects": "cli.effects",
    "handlers": "cli.handlers",
    "dead-letters": "cli.dead_letters",
    "jobs": "cli.jobs",
    "prune": "cli.prune",
    "erase": "cli.personal",
    "export": "cli.personal",
    "audit": "cli.audit",
    "backfill": "cli.backfill",
    "reconcile": "cli.reconcile",
    "contract": "cli.contract",
    "topics": "cli.topics",
    "db": "cli.db",
    "config": "cli.config",
    "doctor": "cli.doctor",
}
"""Each command's module, imported when the command is called. Its `app` has a command of that name, or is,
as a whole, the command with its subcommands."""


class LazyCommands(TyperGroup):
    """Imports a command's module when it is asked for: `status` must not wait for a web server's import."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            nearest = get_close_matches(cmd_name, COMMANDS, n=1, cutoff=0.0)[0]
            ctx.fail(f"no such command: {cmd_name}; did you mean {nearest}?")
        family = typer.main.get_group(import_module(COMMANDS[cmd_name]).app)
        command = family.commands.get(cmd_name, family)
        command.name = cmd_name
        return command


app = typer.Typer(cls=LazyCommands, add_completion=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"redemptions {version('redemptions')}")
        raise typer.Exit


@app.callback()
def redemptions(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.toml", help="Settings; the environment wins over it."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What stands behind a Voucherify webhook: ingress, worker, loyalty ledger, dead letters."""
    context.obj = Invocation(config)


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code: 0 fine, 1 the answer is no, 2 wrong use or settings."""
    try:
        code = typer.main.get_command(app).main(
            _config_first(arguments) or ["--help"], prog_name="redemptions", standalone_mode=False
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has left. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (TyperException, WrongSettings, Failure) as failure:
        complain(_told(failure) or type(failure).__name__)
        return _exit_code(failure)


def _told(failure: Exception) -> str:
    return failure.format_message() if isinstance(failure, TyperException) else str(failure)


def _exit_code(failure: Exception) -> int:
    if isinstance(failure, TyperException):
        return failure.exit_code
    return WRONG_USE if isinstance(failure, WrongSettings | Misconfigured) else 1


def _config_first(arguments: Sequence[str]) -> list[str]:
    """`--config FILE` moved to the front: people also write it behind the command."""
    first: list[str] = []
    rest = list(arguments)
    end = rest.index("--") if "--" in rest else len(rest)
    for place in reversed(range(end)):
        if rest[place].startswith("--config="):
            first = [rest.pop(place), *first]
        elif rest[place] == "--config":
            first = [*rest[place : place + 2], *first]
            del rest[place : place + 2]
    return first + rest


if __name__ == "__main__":
    main()
