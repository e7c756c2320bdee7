"""`redemptions erase` and `export`: what is kept of one customer, taken away or shown."""

import sys
from typing import Annotated

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.operator import deed_of
from cli.options import TENANT, Json, Tenant, iso, line
from cli.output import JsonList, print_json, safe
from config.settings import Settings
from consumer.letters import DEAD_LETTER_TOPIC
from events.ids import is_fit
from storage.audit import audited
from storage.erasing import Erased
from storage.erasing import erase as erase_customer
from storage.erasures import Customer
from storage.personal_data import personal_data

app = typer.Typer()

CustomerId = Annotated[str, typer.Option("--customer", callback=line, help="The customer's id.")]


@app.command()
def erase(
    context: typer.Context,
    customer: CustomerId,
    tenant: Tenant = TENANT,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a customer's personal data, for good. The ledger keeps ids and numbers (docs/privacy.md)."""
    if not is_fit(customer):
        raise typer.BadParameter("a customer's id has 1 to 255 bytes")
    settings = settings_of(context)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody is there to be asked: give --yes")
        question = f"Erase the personal data of {customer} ({tenant}), for good?"
        typer.confirm(safe(question), abort=True, err=True)
    erased, counts = run_loop(_erase(settings, (tenant, customer)))
    if as_json:
        told = {"tenant": tenant, "customer_id": customer, "erased_at": iso(erased.at)}
        print_json(told | counts | {"unclear": erased.unclear})
        return
    done = f"{counts['records']} records, {counts['effects']} effects, {counts['letters']} dead letters"
    print(safe(f"erased {customer}: {done}"))
    if erased.unclear:
        print("dead letters that nobody can read and that hold this id (look at them: dead-letters show):")
        print("\n".join(erased.unclear))


async def _erase(settings: Settings, customer: Customer) -> tuple[Erased, dict[str, int]]:
    tenant, id = customer
    async with opened(settings) as database:
        deed = deed_of("erase", {"customer": id}, tenant=tenant, subject=id)
        async with audited(database, deed) as counts:
            erased = await erase_customer(database, customer, DEAD_LETTER_TOPIC, counts)
    return erased, dict(counts)


@app.command()
def export(
    context: typer.Context, customer: CustomerId, tenant: Tenant = TENANT, as_json: Json = False
) -> None:
    """Show all that is kept of a customer, row by row with its table. Exit code 1: nothing is."""
    if not run_loop(_export(settings_of(context), (tenant, customer), as_json)):
        raise typer.Exit(1)


async def _export(settings: Settings, customer: Customer, as_json: bool) -> int:
    rows = 0
    async with opened(settings) as database, database.snapshot() as snapshot:
        with JsonList(as_json) as answer:
            async for table, row in personal_data(snapshot, customer):
                rows += 1
                if as_json:
                    answer.add({"table": table} | row)
                else:
                    told = "  ".join(f"{name}={value}" for name, value in row.items() if value is not None)
                    print(safe(f"{table}  {told}"), flush=True)
    return rows
