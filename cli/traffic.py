"""`redemptions traffic`: signed synthetic traffic, and what the balances must come to."""

import secrets
from typing import Annotated, Any

import httpx
import typer

from cli.invocation import settings_of
from cli.loop import run_loop
from cli.options import TENANT, Json, Tenant
from cli.output import complain, print_json
from cli.send import ROUTE, Secret, address_of, secret_for
from config.webhook_secrets import DEFAULT_TENANT
from traffic.generator import Traffic
from traffic.generator import traffic as made_traffic
from traffic.sending import Sending

PATIENCE_SECONDS = 30.0
"""Without any 202, until the ingress is taken to be away for good."""

app = typer.Typer(help="Synthetic traffic.")


@app.command()
def traffic(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="Default: the ingress of the settings.")] = None,
    secret: Secret = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Sent again, it changes nothing. Default: new.")
    ] = None,
    events: Annotated[int, typer.Option(min=1, max=100_000, help="About so many deliveries.")] = 1000,
    rate: Annotated[float, typer.Option(metavar="N/s", min=0.1, max=100_000)] = 200.0,
    tenant: Tenant = TENANT,
    as_json: Json = False,
) -> None:
    """Send stacks, rollbacks, doubles and oddities in any order; print the balances they must come to.

    By the default policy, for customers of this seed alone. Exit code 1 unless all were accepted.
    """
    url = (
        _usable(url)
        if url
        else address_of(settings_of(context)) + ("" if tenant == DEFAULT_TENANT else f"/{tenant}")
    )
    seed = secrets.randbelow(2**31) if seed is None else seed
    load = made_traffic(seed, events)
    sending = Sending([url], secret or secret_for(context, url), rate=rate, patience=PATIENCE_SECONDS)
    run_loop(sending.send(delivery.body for delivery in load.deliveries))
    answer = _report(seed, load, sending)
    if as_json:
        print_json(answer)
    else:
        _show(answer)
    if missing := answer["deliveries"] - answer["accepted"]:
        answers = ", ".join(
            f"{status or 'none'}: {count}" for status, count in sorted(sending.answers.items())
        )
        complain(f"{missing} deliveries were not accepted by {url} (answers: {answers})")
        raise typer.Exit(1)


def _usable(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as wrong:
        raise typer.BadParameter(f"{url}: {wrong}") from wrong
    if parts.scheme not in ("http", "https") or not parts.host:
        raise typer.BadParameter(f"{url}: not the address of an ingress, such as http://host{ROUTE}")
    return url


def _report(seed: int, load: Traffic, sending: Sending) -> dict[str, Any]:
    expected = load.expected(set(range(len(load.deliveries))) - sending.accepted)
    return {
        "seed": seed,
        "deliveries": len(load.deliveries),
        "accepted": len(sending.accepted),
        "requests": sending.tries.total(),
        **expected._asdict(),
    }


def _show(answer: dict[str, Any]) -> None:
    print(f"seed {answer['seed']}: {answer['accepted']} of {answer['deliveries']} deliveries accepted")
    for title in ("balances", "dead_letters"):
        print(f"{title.replace('_', ' ')}:")
        for name, number in answer[title].items():
            print(f"  {name:<32} {number:>10}")
    for customer in answer["uncertain"]:
        print(f"  {customer:<32}  uncertain: not all was accepted")
