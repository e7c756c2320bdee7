"""`redemptions db`: the database's schema."""

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.starting import writable
from config.settings import Settings
from storage.schema_version import SchemaVersion
from storage.upgrade import upgrade as upgrade_schema

app = typer.Typer(help="The database's schema.", no_args_is_help=True)


@app.callback()
def db() -> None:
    """The database's schema."""


@app.command()
def upgrade(context: typer.Context) -> None:
    """Bring the schema up to this program's version. Safe to run twice, or by two at once."""
    settings = settings_of(context)
    if settings.database_url is None:
        writable(settings.data_dir)
    before = run_loop(_upgrade(settings))
    if before.is_behind:
        print(f"upgraded from {before.current or 'nothing'} to {before.newest}")
    else:
        print(f"nothing to do: the schema is at {before.current}")


async def _upgrade(settings: Settings) -> SchemaVersion:
    async with opened(settings, create=True) as database:
        return await upgrade_schema(database)
