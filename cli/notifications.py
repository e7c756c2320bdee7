"""`redemptions notifications`: looking at a notifications file before it is in force."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.invocation import settings_of
from cli.notifications_policy import PACKAGED
from cli.options import TENANT, Json, Tenant
from cli.output import print_json, safe
from events.decode import decode
from events.event import RedemptionEvent
from events.failures import Malformed, Misconfigured
from events.runtime import SystemRuntime
from handlers.notifications.carriers import carriers_of
from handlers.notifications.credentials import Credentials, credentials_of, unprotected
from handlers.notifications.policy_file import load_policy, read_policy
from handlers.notifications.preview import Preview, plain, previews
from handlers.tables import WrongPolicy

app = typer.Typer(help="What is told to whom.", no_args_is_help=True)

File = Annotated[
    Path | None, typer.Argument(help="A notifications file (TOML); by default the one in force.")
]


@app.command()
def check(context: typer.Context, file: File = None) -> None:
    """Whether a notifications file can be used here; a line for each fault. Exit code 1: it cannot."""
    path = file or settings_of(context).notifications_policy or PACKAGED
    try:
        policy = read_policy(path)
        credentials = credentials_of(policy, os.environ)
        carriers_of(policy, credentials, SystemRuntime().now)
    except (WrongPolicy, Misconfigured) as wrong:
        for fault in wrong.faults if isinstance(wrong, WrongPolicy) else (str(wrong),):
            print(safe(f"{path}: {fault}"))
        raise typer.Exit(1) from None
    for warning in unprotected(policy, credentials):
        print(safe(f"{path}: warning: channels.{warning}"))
    print(safe(f"{path}: fine; channels: {len(policy.channels)}, rules: {len(policy.rules)}"))


@app.command()
def preview(
    context: typer.Context,
    event: Annotated[Path, typer.Argument(help="A delivery (JSON), such as a file of examples/.")],
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="A notifications file (TOML); by default the one in force."),
    ] = None,
    tenant: Tenant = TENANT,
    as_json: Json = False,
) -> None:
    """The messages that an event would lead to, rendered without sending. Points are unknown to it.

    Exit code 1: one of them cannot be rendered.
    """
    rules = load_policy(policy or settings_of(context).notifications_policy or PACKAGED)
    carriers = carriers_of(rules, {name: Credentials() for name in rules.channels}, SystemRuntime().now)
    shown = previews(_event(event, tenant), rules, carriers)
    if as_json:
        print_json([plain(each) for each in shown])
    elif not shown:
        print("no rule is for this event")
    else:
        for each in shown:
            _show(each)
    if any(each.refused for each in shown):
        raise typer.Exit(1)


def _event(file: Path, tenant: str) -> RedemptionEvent:
    try:
        meaning = decode(file.read_bytes(), tenant)
    except OSError as wrong:
        raise typer.BadParameter(f"{file} cannot be read: {wrong.strerror}") from None
    except Malformed as wrong:
        raise typer.BadParameter(f"{file}: {wrong}") from None
    if not isinstance(meaning, RedemptionEvent):
        raise typer.BadParameter(f"{file} is no redemption's event: {meaning.type}")
    return meaning


def _show(preview: Preview) -> None:
    print(safe(f"{preview.rule}: to {preview.to} by {preview.channel}, key {preview.key}"))
    if preview.message is None:
        print(
            safe(f"  {f'skipped: {preview.skipped}' if preview.skipped else f'refused: {preview.refused}'}")
        )
    for name, value in _lines(preview.message or {}):
        print(safe(f"  {name}: {value}"))


def _lines(message: dict[str, Any], place: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for name, value in message.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{place}{name}.")
        elif isinstance(value, str):
            lines += [(f"{place}{name}", line) for line in value.splitlines() or [""]]
        else:
            lines.append((f"{place}{name}", value))
    return lines
