"""`redemptions reconcile`: Voucherify's list against the ledger, and enqueueing what is missing."""

import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import asdict

from cli.database import opened
from cli.invocation import settings_of
from cli.log import log_of
from cli.loop import run_loop
from cli.operator import deed_of
from cli.options import TENANT, Json, Tenant, moment_ms
from cli.output import JsonList, complain, safe
from cli.starting import writable
from config.settings import PREFIX, Settings
from events.failures import Misconfigured, Unavailable
from events.runtime import SystemRuntime
from reconcile.client import Account, Voucherify
from reconcile.enqueueing import Enqueueing
from reconcile.findings import Different, Extra, Finding, Missing
from reconcile.journal import Journal, Scope
from reconcile.moments import Window, iso
from reconcile.pace import Pace
from reconcile.run import Run
from storage.audit import audited
from storage.database import Database

app = typer.Typer(help="Comparing with Voucherify.")
NEEDED = ("voucherify_base_url", "voucherify_app_id", "voucherify_app_token")


@app.command()
def reconcile(
    context: typer.Context,
    since: Annotated[
        int, typer.Option("--since", parser=moment_ms, metavar="D", help="From this date or time (UTC).")
    ],
    until: Annotated[
        int | None,
        typer.Option("--until", parser=moment_ms, metavar="D", help="Before this one. Default: now."),
    ] = None,
    tenant: Tenant = TENANT,
    enqueue: Annotated[
        bool, typer.Option("--enqueue", help="Append what is missing to the events topic.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew where an earlier run was interrupted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare with Voucherify's list of redemptions and rollbacks.

    An interrupted run goes on when it is called again. Exit code 1: something is missing (and not enqueued),
    extra or different.
    """
    settings = settings_of(context)
    account = _account(settings)
    if re.fullmatch(r"[a-z0-9-]{1,63}", tenant) is None:
        raise typer.BadParameter(f"{tenant!r} is no tenant: a-z, 0-9 and -, at most 63")
    now = int(SystemRuntime().now() * 1000)
    if since >= (now if until is None else until):
        raise typer.BadParameter("--since must be earlier than --until, or than now")
    writable(settings.data_dir)
    scope = Scope(f"{account.base_url} {account.app_id}", tenant, since, until, enqueue)
    with _journal(settings.data_dir, scope, now, restart) as journal:
        window = Window(since, journal.until)
        with _bar(journal, window, as_json) as moved:
            run_loop(_complete(settings, account, journal, window, now, moved))
        _answer(journal, window, as_json)
        is_fine = _is_fine(journal)
        journal.discard()
    if not is_fine:
        raise typer.Exit(1)


def _account(settings: Settings) -> Account:
    base_url, app_id, token = (getattr(settings, name) for name in NEEDED)
    if base_url is None or app_id is None or token is None:
        unset = [PREFIX + name.upper() for name in NEEDED if getattr(settings, name) is None]
        raise Misconfigured("voucherify_settings", f"to ask Voucherify, set {', '.join(unset)}")
    return Account(base_url, app_id, token.get_secret_value())


@contextmanager
def _journal(data_dir: Path, scope: Scope, now: int, restart: bool) -> Iterator[Journal]:
    try:
        with closing(Journal(data_dir / "reconcile", scope, now=now, restart=restart)) as journal:
            yield journal
    except BrokenPipeError:
        raise
    except OSError as wrong:
        raise Misconfigured("data_dir", f"cannot write to {data_dir / 'reconcile'}: {wrong}") from wrong


async def _complete(
    settings: Settings,
    account: Account,
    journal: Journal,
    window: Window,
    now: int,
    moved: Callable[[int], None],
) -> None:
    if journal.frontier is not None:
        complain(f"going on where the last run stopped, at {iso(journal.frontier)}; --restart begins anew")
    try:
        async with (
            opened(settings) as database,
            _on_record(database, journal),
            _enqueueing(settings, journal.scope) as enqueueing,
            Voucherify(account, Pace(SystemRuntime())) as voucherify,
        ):
            await Run(voucherify, database, journal, window, now, enqueueing, moved).complete()
    except Unavailable as failure:
        again = "the same command goes on where this one stopped"
        raise Unavailable(failure.reason, f"{failure}; {again}") from failure


@asynccontextmanager
async def _on_record(database: Database, journal: Journal) -> AsyncIterator[None]:
    """Looking is nobody's business; what goes on the log is."""
    scope = journal.scope
    if not scope.enqueue:
        yield
        return
    what = {"since": iso(scope.since), "until": None if scope.until is None else iso(scope.until)}
    before = journal.enqueued
    async with audited(database, deed_of("reconcile --enqueue", what, tenant=scope.tenant)) as counts:
        try:
            yield
        finally:
            counts["enqueued"] = journal.enqueued - before


@asynccontextmanager
async def _enqueueing(settings: Settings, scope: Scope) -> AsyncIterator[Enqueueing | None]:
    if not scope.enqueue:
        yield None
        return
    runtime = SystemRuntime()
    producer = log_of(settings, runtime).producer()
    await producer.start()
    try:
        yield Enqueueing(producer, settings.events_topic, scope.tenant, runtime)
    finally:
        await producer.stop()


@contextmanager
def _bar(journal: Journal, window: Window, as_json: bool) -> Iterator[Callable[[int], None]]:
    """A line on stderr that tells how far it is, for people who watch."""
    if as_json or not sys.stderr.isatty():
        yield lambda moment: None
        return

    def show(moment: int) -> None:
        done = max(0.0, min(1.0, (moment - window.start) / (window.end - window.start)))
        found = f"{journal.checked} checked, {journal.missing} missing, {journal.different} different"
        print(f"\r[{'#' * round(done * 30):<30}] {done:4.0%}  {found}", end="", file=sys.stderr, flush=True)

    show(window.start)
    try:
        yield show
    finally:
        print(file=sys.stderr)


def _is_fine(journal: Journal) -> bool:
    all_enqueued = journal.missing == journal.enqueued
    return all_enqueued and not (journal.extra or journal.different or journal.unreadable)


def _answer(journal: Journal, window: Window, as_json: bool) -> None:
    if as_json:
        _print_json(journal, window)
        return
    for missing in journal.of(Missing):
        _print_line("missing", missing.kind, missing.redemption_id, missing.customer_id, missing.date)
    for extra in journal.of(Extra):
        _print_line("extra", extra.kind, extra.redemption_id, extra.customer_id, extra.date)
    for different in journal.of(Different):
        told = [
            f"{name}: {each['ours']} here, {each['voucherify']} there"
            for name, each in different.fields.items()
        ]
        _print_line("different", different.redemption_id, "; ".join(told))
    print(
        f"{journal.checked} checked: {journal.missing} missing, {journal.extra} extra, "
        f"{journal.different} different, {journal.unreadable} unreadable, {journal.enqueued} enqueued"
    )
    if journal.erased:
        print(f"{journal.erased} missing of erased customers: passed over")


def _print_line(*words: Any) -> None:
    print("  ".join(safe("-" if word is None else word) for word in words))


def _print_json(journal: Journal, window: Window) -> None:
    """One object, its lists written as they are read."""
    head = {"since": iso(window.start), "until": iso(window.end), "checked": journal.checked}
    print(json.dumps(head)[:-1], end="")
    _print_list("missing", journal.of(Missing))
    _print_list("extra", journal.of(Extra))
    _print_list("different", journal.of(Different))
    counts = {"unreadable": journal.unreadable, "enqueued": journal.enqueued, "erased": journal.erased}
    print(f", {json.dumps(counts)[1:]}")


def _print_list(name: str, findings: Iterable[Finding]) -> None:
    print(f', "{name}":')
    with JsonList() as answer:
        for finding in findings:
            answer.add(asdict(finding))
