"""`redemptions prune`: what nobody needs any more is removed, a little at a time."""

from typing import Annotated

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.operator import deed_of
from cli.options import Json
from cli.output import print_json
from config.settings import Settings
from storage.audit import audited
from storage.pruning import prune as pruned

app = typer.Typer()
DAYS = 30.0
OlderThan = Annotated[
    float,
    typer.Option("--older-than", min=0, max=36_500, metavar="DAYS", help="Letters that died before then."),
]


@app.command()
def prune(
    context: typer.Context,
    older_than: OlderThan = DAYS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell how much there is.")] = False,
    as_json: Json = False,
) -> None:
    """Remove dead letters that are closed, and records that no effect waits for. Workers may go on."""
    counts = run_loop(_prune(settings_of(context), older_than, dry_run))
    if as_json:
        print_json(counts | {"dry_run": dry_run})
    else:
        would = "would be " if dry_run else ""
        items = f"{counts['job_items']} results of jobs"
        print(f"{counts['letters']} dead letters, {items} and {counts['records']} records {would}removed")


async def _prune(settings: Settings, days: float, dry_run: bool) -> dict[str, int]:
    counts: dict[str, int] = {}
    async with opened(settings) as database:
        if dry_run:
            await pruned(database, days, counts, dry_run=True)
            return counts
        async with audited(database, deed_of("prune", {"older_than_days": days})) as counts:
            await pruned(database, days, counts)
    return counts
