"""`redemptions topics`: the log's two topics."""

import typer

from cli.invocation import settings_of
from cli.log import log_of
from cli.loop import run_loop
from config.settings import Settings
from events.runtime import SystemRuntime

app = typer.Typer(help="The log's topics.", no_args_is_help=True)


@app.callback()
def topics() -> None:
    """The log's topics."""


@app.command()
def ensure(context: typer.Context) -> None:
    """Create the topics that are missing and set their limits."""
    for line in run_loop(_ensure(settings_of(context))) or ["nothing to do"]:
        print(line)


async def _ensure(settings: Settings) -> list[str]:
    admin = log_of(settings, SystemRuntime()).admin()
    try:
        return await admin.ensure_topics()
    finally:
        await admin.close()
