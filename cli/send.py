"""`redemptions send` and `sign`: posting files to an ingress as Voucherify would."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer

from cli.freshening import Freshening
from cli.invocation import settings_of
from cli.output import complain, safe
from config.demo_secret import existing_demo_secret
from config.settings import Settings
from config.webhook_secrets import DEFAULT_TENANT
from events.signature import sign as signature_of

ROUTE = "/webhooks/voucherify"
ACCEPTED = 202
TIMEOUT_SECONDS = 15
"""Longer than the 10 s that Voucherify waits."""

app = typer.Typer(help="Signed requests for an ingress.")
Secret = Annotated[
    str | None, typer.Option("--secret", help="Webhook secret. Default: the settings', else the demo secret.")
]


@app.command()
def send(
    context: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(help="Bodies; a directory: its *.json files; -: standard input.")
    ],
    url: Annotated[str | None, typer.Option(help="Default: the ingress of the settings.")] = None,
    secret: Secret = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="New ids and the present time.")] = False,
) -> None:
    """Sign files and post them, one after the other. Exit code 1 unless all were accepted."""
    if url is None:
        url = address_of(settings_of(context))
    secret = secret or secret_for(context, url)
    bodies = list(_bodies(files))
    if fresh:
        freshening = Freshening()
        bodies = [(name, freshening.apply(body)) for name, body in bodies]
    if not _all_accepted(url, secret, bodies):
        raise typer.Exit(1)


@app.command()
def sign(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A body; -: standard input.")],
    secret: Secret = None,
) -> None:
    """Print the x-voucherify-signature of a file."""
    print(signature_of(_read(file), secret or _secret(context, DEFAULT_TENANT)))


def address_of(settings: Settings) -> str:
    """Where the settings' own ingress takes deliveries."""
    return f"http://{_bracketed(settings.ingress_host)}:{settings.ingress_port}{ROUTE}"


def secret_for(context: typer.Context, url: str) -> str:
    """The secret of the tenant that `url` names."""
    return _secret(context, _tenant(url))


def _all_accepted(url: str, secret: str, bodies: Iterable[tuple[str, bytes]]) -> bool:
    accepted = True
    # No proxies of the environment: what is sent here goes to this machine or to one of ours.
    with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        for name, body in bodies:
            headers = {
                "x-voucherify-signature": signature_of(body, secret),
                "content-type": "application/json",
            }
            try:
                answer = client.post(url, content=body, headers=headers)
            except httpx.ConnectError as wrong:
                complain(f"nobody listens at {url} ({wrong}): start `redemptions run`, or give --url")
                return False
            except (httpx.HTTPError, httpx.InvalidURL) as wrong:
                complain(f"{url}: {wrong or type(wrong).__name__}")
                return False
            print(f"{safe(name)}: {answer.status_code} {safe(answer.text[:200])}", flush=True)
            accepted = accepted and answer.status_code == ACCEPTED
    return accepted


def _bodies(files: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        for each in sorted(file.glob("*.json")) if file.is_dir() else [file]:
            yield str(each), _read(each)


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as wrong:
        raise typer.BadParameter(f"{file}: {wrong.strerror}") from wrong


def _secret(context: typer.Context, tenant: str) -> str:
    settings = settings_of(context)
    keys = settings.webhook_keys().get(tenant)
    if keys:
        return keys[0]
    demo = existing_demo_secret(settings.data_dir) if tenant == DEFAULT_TENANT else None
    if demo is None:
        raise typer.BadParameter(
            f"no secret for tenant {tenant}: give --secret or REDEMPTIONS_WEBHOOK_SECRETS, "
            f"or start `redemptions run` once, which makes a demo secret in {settings.data_dir}"
        )
    return demo


def _tenant(url: str) -> str:
    _, _, tenant = urlsplit(url).path.partition(f"{ROUTE}/")
    return tenant or DEFAULT_TENANT


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
