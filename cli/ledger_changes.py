"""`redemptions ledger adjust` and `restate`: what people do to the ledger by hand."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.operator import deed_of, operator
from cli.options import TENANT, Json, Tenant
from cli.output import JsonList, safe
from cli.points_policy import policy_in
from config.settings import Settings
from events.failures import Refused
from handlers.loyalty.adjustment import Adjustment, check
from handlers.loyalty.adjustment import adjust as post
from handlers.loyalty.restatement import Restated
from handlers.loyalty.restatement import restate as restated
from storage.audit import audited


def adjust(
    context: typer.Context,
    customer: str,
    points: Annotated[int, typer.Argument(metavar="±N", help="Points to give, or with a minus to take.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")],
    key: Annotated[str, typer.Option("--key", help="Tells this adjustment from all others: again is once.")],
    tenant: Tenant = TENANT,
) -> None:
    """Give or take points by hand. Exit code 1: the key was used for something else."""
    adjustment = Adjustment(tenant, customer, points, reason, key)
    try:
        check(adjustment)
    except Refused as refused:
        raise typer.BadParameter(str(refused)) from None
    new = run_loop(_adjust(settings_of(context), adjustment))
    print(safe(f"{points:+d} points, {customer}, key {key}: {'posted' if new else 'was posted before'}"))


async def _adjust(settings: Settings, adjustment: Adjustment) -> bool:
    async with opened(settings) as database:
        return await post(database, adjustment, operator())


def restate(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the differences.")] = False,
    as_json: Json = False,
) -> None:
    """Give every order what the policy of the settings entitles it to, and take that policy into force."""
    run_loop(_restate(settings_of(context), dry_run, as_json))


async def _restate(settings: Settings, dry_run: bool, as_json: bool) -> None:
    policy = policy_in(settings)
    async with opened(settings) as database:
        if dry_run:
            found = await _shown(restated(database, policy, dry_run=True), as_json)
        else:
            deed = deed_of("ledger restate", {"policy": policy.fingerprint})
            async with audited(database, deed) as counts:
                found = await _shown(restated(database, policy, dry_run=False), as_json)
                counts["entries"] = found
    if not as_json:
        print(f"{found} differences {'would be posted' if dry_run else 'posted'}")


async def _shown(differences: AsyncIterator[Restated], as_json: bool) -> int:
    found = 0
    with JsonList(as_json) as answer:
        async for each in differences:
            found += 1
            if as_json:
                answer.add(msgspec.to_builtins(each))
            else:
                print(safe(f"{each.tenant} order {each.order_key}: {each.points:+d} {each.customer_id}"))
    return found
