"""`redemptions jobs`: bulk work on dead letters, looked at, paused, gone on with, called off."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
import typer

from cli.database import ask, opened
from cli.invocation import settings_of
from cli.job_running import Ran, run_to_end, runner_for
from cli.job_running import pause as paused
from cli.loop import run_loop
from cli.operator import deed_of
from cli.options import Json, Limit, iso
from cli.output import JsonList, complain, print_json, safe
from config.settings import Settings
from consumer.job_steps import LEASE_SECONDS
from storage.audit import audited
from storage.database import Database, Transaction
from storage.job_queries import count_died_again, find_jobs, items_of, show_job
from storage.jobs import change_state, claim_job, count_items, end_job, is_leased
from storage.schema import ItemState, JobKind, JobState

app = typer.Typer(help="Bulk work on dead letters.", no_args_is_help=True)
STATES = [state.name.lower() for state in JobState]
SHOWN = ("id", "created_at", "state", "kind", "who", "reason")
Detach = Annotated[bool, typer.Option("--detach", help="Leave it to the workers.")]


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option("--state", help=f"{', '.join(STATES)}.")] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Jobs, the newest first."""
    if state not in (None, *STATES):
        raise typer.BadParameter(f"--state is one of {', '.join(STATES)}")
    wanted = None if state is None else JobState[state.upper()]
    run_loop(_list(settings_of(context), wanted, limit, as_json))


async def _list(settings: Settings, state: JobState | None, limit: int | None, as_json: bool) -> None:
    async with opened(settings) as database, database.snapshot() as snapshot:
        with JsonList(as_json) as answer:
            async for row in find_jobs(snapshot, state, limit):
                job = _told(row)
                if as_json:
                    answer.add(job)
                else:
                    cells = [job[name] for name in SHOWN] + [f"{job['settled']} of {job['total']}"]
                    print("  ".join(safe(cell or "-") for cell in cells), flush=True)


@app.command()
def show(
    context: typer.Context,
    job: str,
    letters: Annotated[bool, typer.Option("--letters", help="The result of each letter instead.")] = False,
    as_json: Json = False,
) -> None:
    """One job: what was asked for, how far it is, how many letters came to what. Exit code 1: unknown."""
    settings = settings_of(context)
    shown = ask(settings, lambda snapshot: _shown(snapshot, job))
    if shown is None:
        raise _unknown(job)
    if letters:
        run_loop(_letters(settings, job, as_json))
    elif as_json:
        print_json(shown)
    else:
        for name, value in shown.items():
            print(f"{name:<16} {safe('' if value is None else value)}")


async def _shown(snapshot: Transaction, job: str) -> dict[str, Any] | None:
    row = await show_job(snapshot, job)
    if row is None:
        return None
    counts = await count_items(snapshot, job)
    return _told(row) | {"counts": counts | {"died_again": await count_died_again(snapshot, job)}}


async def _letters(settings: Settings, job: str, as_json: bool) -> None:
    async with opened(settings) as database, database.snapshot() as snapshot:
        with JsonList(as_json) as answer:
            async for row in items_of(snapshot, job):
                result = {
                    "letter": row.letter,
                    "result": ItemState(row.state).name.lower(),
                    "generation": row.generation,
                    "at": iso(row.at),
                    "died_again": bool(row.died),
                }
                if as_json:
                    answer.add(result)
                else:
                    again = "died again" if row.died else ""
                    print("  ".join((row.letter, str(result["result"]), again)).rstrip(), flush=True)


@app.command()
def pause(context: typer.Context, job: str) -> None:
    """Stop a job after the letters that are being published now. Exit code 1: it does not run."""
    _require(run_loop(_changed(settings_of(context), job, lambda database: paused(database, job, {}))), job)


@app.command()
def cancel(context: typer.Context, job: str) -> None:
    """Call a job off for good; what is published stays published. Exit code 1: it has ended."""
    _require(run_loop(_changed(settings_of(context), job, lambda database: _cancelled(database, job))), job)


@app.command()
def resume(context: typer.Context, job: str, detach: Detach = False, as_json: Json = False) -> None:
    """Go on with a job that was paused, or whose runner was killed. Exit code 1: it has ended."""
    ran = run_loop(_resumed(settings_of(context), job, detach))
    if ran is None:
        _require(False, job)
    elif as_json:
        print_json({"job": job, "state": ran.state.name.lower()} | ran.counts)
    elif detach:
        print(f"job {job}: left to the workers")
    else:
        counted = ", ".join(f"{count} {name}" for name, count in ran.counts.items() if count)
        print(f"job {job}: {ran.state.name.lower()}, {counted}".replace("_", " "))


async def _changed(settings: Settings, job: str, change: Callable[[Database], Awaitable[bool]]) -> bool:
    async with opened(settings) as database:
        async with database.snapshot() as snapshot:
            if await show_job(snapshot, job) is None:
                raise _unknown(job)
        return await change(database)


async def _cancelled(database: Database, job: str) -> bool:
    async with audited(database, deed_of("jobs cancel", {}, subject=job)) as counts:
        async with database.transaction() as transaction:
            leased = await is_leased(transaction, job)
            cancelled = await change_state(
                transaction, job, (JobState.RUNNING, JobState.PAUSED), JobState.CANCELLED
            )
            if cancelled and not leased:  # else whoever works on it ends it after the step in hand
                await end_job(transaction, job, JobState.CANCELLED)
        counts["jobs"] = int(cancelled)
    return cancelled


async def _resumed(settings: Settings, job: str, detach: bool) -> Ran | None:
    """None: the job has ended."""
    async with opened(settings) as database:
        async with database.snapshot() as snapshot:
            row = await show_job(snapshot, job)
        if row is None:
            raise _unknown(job)
        if row.state not in (JobState.RUNNING, JobState.PAUSED):
            return None
        if detach:
            await _run_on(database, job, None)
            return Ran(JobState.RUNNING, {})
        async with runner_for(settings, database, JobKind(row.kind)) as runner:
            await _run_on(database, job, runner.owner)
            return await run_to_end(database, runner, job, row.total - row.position)


async def _run_on(database: Database, job: str, owner: str | None) -> None:
    """With an `owner` no worker takes a job that was paused while they run it."""
    async with audited(database, deed_of("jobs resume", {}, subject=job)) as counts:
        async with database.transaction() as transaction:
            changed = await change_state(transaction, job, (JobState.PAUSED,), JobState.RUNNING)
            if changed and owner is not None:
                await claim_job(transaction, owner, LEASE_SECONDS, job)
        counts["jobs"] = int(changed)


def _require(changed: bool, job: str) -> None:
    if not changed:
        complain(f"job {job} is not in a state for that: see `redemptions jobs show {job}`")
        raise typer.Exit(1)


def _unknown(job: str) -> typer.Exit:
    complain(f"no job has the id {job}")
    return typer.Exit(1)


def _told(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": JobKind(row.kind).name.lower(),
        "state": JobState(row.state).name.lower(),
        "who": row.who,
        "reason": row.reason,
        "what": msgspec.json.decode(row.what),
        "rate": row.rate,
        "total": row.total,
        "settled": row.position,
        "created_at": iso(row.created_at),
        "ended_at": iso(row.ended_at),
        "leased": bool(row.leased),
    }
