"""Options that several commands share."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from config.webhook_secrets import DEFAULT_TENANT
from reconcile.moments import moment

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Tenant = Annotated[str, typer.Option("--tenant", help="The tenant, as in the webhook's URL.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")]
TENANT = DEFAULT_TENANT


_NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def line(text: str | None) -> str | None:
    """Text of one line, as every database takes it: the callback of options. Raises BadParameter."""
    if text is not None and _NO_LINE.search(text):
        raise typer.BadParameter("control characters, or bytes that are not UTF-8")
    return text


LATEST = 250_000_000_000_000
"""Milliseconds: near the last year that a date can have."""


def moment_ms(text: str) -> int:
    """A date or time in ISO 8601, UTC unless it says otherwise, in milliseconds: the parser of options."""
    try:
        ms = moment(text)
    except (ValueError, OverflowError):
        ms = -1
    if not 0 <= ms < LATEST:
        raise typer.BadParameter(f"{text!r} is no date or time in ISO 8601, such as 2026-03-01")
    return ms


def rate(text: str) -> float:
    """`20` or `20/s`: a number a second. Raises BadParameter."""
    try:
        number = float(text.removesuffix("/s"))
    except ValueError:
        number = 0.0
    if not 0.001 <= number <= 1_000_000:
        raise typer.BadParameter(f"{text!r} is no rate such as 20/s")
    return number


Rate = Annotated[
    float | None, typer.Option("--rate", parser=rate, metavar="N/s", help="At most so many a second.")
]


def milliseconds(when: datetime | None) -> int | None:
    """A time given on the command line, UTC unless it says otherwise, in milliseconds since 1970."""
    if when is None:
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def iso(ms: int | None) -> str | None:
    """Milliseconds since 1970 as ISO 8601, UTC."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
