"""`redemptions ledger explain`: why an order has its points."""

from typing import Annotated

import msgspec
import typer

from cli.database import ask
from cli.invocation import settings_of
from cli.options import TENANT, Json, Tenant
from cli.output import complain, print_json, safe
from cli.points_policy import policy_in
from handlers.loyalty.explanation import Explanation
from handlers.loyalty.explanation import explain as explained


def explain(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(metavar="REDEMPTION|ORDER")],
    tenant: Tenant = TENANT,
    as_json: Json = False,
) -> None:
    """The facts, the rules that matched, the arithmetic done again. Exit code 1: nobody knows it."""
    settings = settings_of(context)
    policy = policy_in(settings)
    answer = ask(settings, lambda snapshot: explained(snapshot, tenant, subject, policy))
    if as_json:
        print_json(None if answer is None else msgspec.to_builtins(answer))
    elif answer is not None:
        _show(answer)
    if answer is None:
        complain(f"the ledger knows no order of {subject}")
        raise typer.Exit(1)


def _show(answer: Explanation) -> None:
    print(safe(f"order {answer.order_key}"))
    for told in answer.redemptions:
        facts = " ".join(f"{name}={value}" for name, value in told.facts.items() if name != "redemption_id")
        print(safe(f"  {told.facts['redemption_id']}: {told.standing}"))
        print(safe(f"    {facts}"))
    print("arithmetic")
    for step in answer.steps:
        print(safe(f"  {step}"))
    print("posted" if answer.entries else "nothing was posted")
    for entry in answer.entries:
        print(safe(f"  {entry.at}  {entry.points:+d}  {entry.customer_id}  {entry.kind}  {entry.key}"))
