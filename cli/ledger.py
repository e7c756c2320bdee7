"""`redemptions ledger`: balances, entries, totals, and whether the books agree."""

from typing import Annotated

import msgspec
import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.ledger_changes import adjust, restate
from cli.ledger_explain import explain
from cli.ledger_export import export
from cli.loop import run_loop
from cli.options import TENANT, Json, Limit, Tenant
from cli.output import JsonList, print_json, safe, table
from cli.points_policy import policy_in
from config.settings import Settings
from handlers.loyalty import report
from handlers.loyalty.verification import verify as findings_of

app = typer.Typer(help="The loyalty ledger.", no_args_is_help=True)
app.command()(explain)
# A number with a minus is no option.
app.command(context_settings={"ignore_unknown_options": True})(adjust)
app.command()(restate)
app.command()(export)


@app.command()
def balance(context: typer.Context, customer: str, tenant: Tenant = TENANT, as_json: Json = False) -> None:
    """A customer's points; an unknown customer has 0."""

    async def points() -> int:
        async with opened(settings_of(context)) as database, database.snapshot() as snapshot:
            return await report.balance(snapshot, tenant, customer)

    answer = run_loop(points())
    if as_json:
        print_json({"tenant": tenant, "customer_id": customer, "points": answer})
    else:
        print(answer)


@app.command()
def entries(
    context: typer.Context,
    customer: Annotated[str | None, typer.Option("--customer")] = None,
    order: Annotated[str | None, typer.Option("--order")] = None,
    tenant: Tenant = TENANT,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """What was posted, the oldest first."""
    run_loop(_entries(settings_of(context), tenant, customer, order, limit, as_json))


async def _entries(
    settings: Settings, tenant: str, customer: str | None, order: str | None, limit: int | None, as_json: bool
) -> None:
    async with opened(settings) as database, database.snapshot() as snapshot:
        shown = 0
        with JsonList(as_json) as answer:
            async for entry in report.entries(snapshot, tenant, customer, order):
                if as_json:
                    answer.add(msgspec.to_builtins(entry))
                else:
                    who, key = safe(entry.customer_id), safe(entry.key)
                    print(f"{entry.at}  {entry.points:+8d}  {who}  {entry.kind:<8} {key}")
                shown += 1
                if shown == limit:
                    break


@app.command()
def totals(context: typer.Context, as_json: Json = False) -> None:
    """The whole ledger in three numbers, all tenants."""

    async def counted() -> report.Totals:
        async with opened(settings_of(context)) as database, database.snapshot() as snapshot:
            return await report.totals(snapshot)

    answer = msgspec.to_builtins(run_loop(counted()))
    if as_json:
        print_json(answer)
    else:
        table(list(answer), [list(answer.values())])


@app.command()
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Recompute balances from entries, and what orders entitle to from facts. Exit code 1: they differ."""
    if not run_loop(_verify(settings_of(context), as_json)):
        raise typer.Exit(1)


async def _verify(settings: Settings, as_json: bool) -> bool:
    found = 0
    async with opened(settings) as database, database.snapshot() as snapshot:
        with JsonList(as_json) as answer:
            async for finding in findings_of(snapshot, policy_in(settings)):
                found += 1
                if as_json:
                    answer.add(msgspec.to_builtins(finding))
                else:
                    what = f"{finding.tenant} {finding.subject} {finding.key}: {finding.problem}"
                    print(safe(what))
    if not as_json:
        print("the books agree" if not found else f"{found} differences")
    return found == 0
