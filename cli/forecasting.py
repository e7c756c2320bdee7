"""`redemptions loyalty what-if`: what a policy would give for given events, without writing anything."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer

from cli.options import TENANT, Json
from cli.output import complain, print_json, safe
from cli.points_policy import PACKAGED
from events.decode import decode
from events.event import Kind, RedemptionEvent
from events.failures import Malformed, Refused
from handlers.loyalty.forecast import Forecast, Told
from handlers.loyalty.policy_file import load_policy

SUFFIXES = (".json", ".jsonl", ".ndjson")


class LeftOut(NamedTuple):
    """A body that tells the ledger nothing, and why."""

    place: str
    reason: str


def what_if(
    files: Annotated[
        list[Path],
        typer.Argument(help="Bodies, JSON lines of them; a directory: its files; -: standard input."),
    ],
    policy: Annotated[Path, typer.Option("--policy", metavar="FILE.toml", help="The policy.")] = PACKAGED,
    as_json: Json = False,
) -> None:
    """What a policy would give for these events, by customer and order."""
    told, left_out = Told(load_policy(policy)), []
    for place, body in _bodies(files):
        try:
            event = decode(body, TENANT)
            if isinstance(event, RedemptionEvent) and event.kind is not Kind.FAILED:
                told.tell(event)
            else:
                left_out.append(LeftOut(place, "no success and no rollback"))
        except (Malformed, Refused) as wrong:
            left_out.append(LeftOut(place, str(wrong)))
    _show(told.forecast(), left_out, as_json)


def _show(forecast: Forecast, left_out: list[LeftOut], as_json: bool) -> None:
    if as_json:
        orders = {
            order: {
                "customer_id": due.customer_id,
                "points": due.points,
                "others": dict(due.others),
                "deciding": due.redemption_id,
                "version": due.reckoning.version.version if due.reckoning and due.reckoning.version else None,
            }
            for order, due in forecast.due.items()
        }
        skipped = [each._asdict() for each in left_out]
        print_json({"customers": forecast.balances(), "orders": orders, "left_out": skipped})
        return
    if not forecast.balances():
        print("nobody gets any points")
    for customer, points in forecast.balances().items():
        print(f"{points:8d}  {safe(customer)}")
    for order, due in forecast.due.items():
        shares = ((due.customer_id, due.points), *due.others)
        for account, points in (share for share in shares if share[0] is not None):
            print(f"{points:8d}  order {safe(order)}  {safe(account)}  decided by {safe(due.redemption_id)}")
    for place, reason in left_out:
        complain(f"{place}: {reason}")


def _bodies(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        inside = (
            sorted(each for each in file.rglob("*") if each.suffix in SUFFIXES) if file.is_dir() else [file]
        )
        for each in inside:
            yield from _split(str(each), _content(each))


def _content(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as wrong:
        raise typer.BadParameter(f"{file}: {wrong.strerror}") from wrong


def _split(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """One body, however it is laid out; or a body a line."""
    lines = [line for line in content.splitlines() if line.strip()]
    if len(lines) > 1 and all(_is_object(line) for line in lines[:2]):
        for number, line in enumerate(content.splitlines(), start=1):
            if line.strip():
                yield f"{name}:{number}", line
    else:
        yield name, content


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
