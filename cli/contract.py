"""`redemptions contract drift`: what was delivered that Voucherify has not documented."""

import json

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.options import Json, iso
from cli.output import JsonList, safe
from config.settings import Settings
from storage.drift import find_examples

app = typer.Typer(help="Voucherify's side of the contract.", no_args_is_help=True)


@app.callback()
def contract() -> None:
    """What Voucherify documents, and what it sends."""


@app.command()
def drift(context: typer.Context, as_json: Json = False) -> None:
    """Undocumented event types, top-level keys and words: where each was seen first, and the delivery's
    structure. How often is in the metric redemptions_contract_drift_total."""
    run_loop(_drift(settings_of(context), as_json))


async def _drift(settings: Settings, as_json: bool) -> None:
    async with opened(settings) as database, database.snapshot() as snapshot:
        with JsonList(as_json) as answer:
            async for row in find_examples(snapshot):
                shown = row._asdict()
                shown["first_seen"] = iso(row.first_seen)
                shown["structure"] = json.loads(row.structure)
                if as_json:
                    answer.add(shown)
                    continue
                origin = f"{row.topic} {row.partition} {row.offset}"
                print(safe(f"{shown['first_seen']}  {row.kind:<10}  {row.place}  {row.seen}  {origin}"))
                print(safe(f"    {row.structure}"))
