"""`redemptions dead-letters replay` and `discard`: a stored job, run at once or left to the workers."""

from typing import Annotated, Any, NamedTuple

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.job_running import Ran, make_job, run_to_end, runner_for
from cli.letter_options import states_are_given
from cli.letter_rehearsal import rehearse
from cli.loop import run_loop
from cli.operator import operator
from cli.options import Json, Rate, line
from cli.output import complain, print_json
from config.settings import Settings
from events.runtime import SystemRuntime
from storage.database import Transaction
from storage.jobs import NewJob
from storage.letter_queries import LetterFilter, count_by_handler, find_letters
from storage.schema import ItemState, JobKind, JobState, LetterState

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...")]
Every = Annotated[bool, typer.Option("--all", help="Needed for more than one letter.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do.")]
Detach = Annotated[bool, typer.Option("--detach", help="Leave it to the workers.")]


def replay(
    context: typer.Context,
    wanted: LetterFilter,
    ids: Ids = None,
    every: Every = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Put letters back on the events topic, each for the handler that failed; returns once all are published.

    Open ones, or by id also discarded ones. Stopped with Ctrl-C it is a paused job (see `redemptions jobs`);
    killed, it goes on in the workers.
    """
    if ids and not states_are_given(context):
        wanted = wanted._replace(states=(LetterState.OPEN, LetterState.DISCARDED))
    chosen = _chosen(wanted, ids, every)
    if dry_run:
        run_loop(rehearse(settings_of(context), chosen, as_json))
        return
    job = _job(JobKind.REPLAY, chosen, None, rate)
    _answer(run_loop(_carried_out(settings_of(context), job, chosen, every, detach)), as_json)


def discard(
    context: typer.Context,
    wanted: LetterFilter,
    reason: Annotated[str, typer.Option("--reason", callback=line, help="Why, for the audit.")],
    ids: Ids = None,
    every: Every = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Put open letters aside for good, with their dead effects. A replay by id brings them back."""
    if not reason.strip():
        raise typer.BadParameter("--reason: say why")
    if wanted.states != (LetterState.OPEN,):
        raise typer.BadParameter("--state: only open letters can be discarded")
    chosen = _chosen(wanted, ids, every)
    job = _job(JobKind.DISCARD, chosen, reason, rate)
    if dry_run:
        matched = run_loop(_matched(settings_of(context), chosen))
        _answer(Report(JobKind.DISCARD, matched, dry_run=True), as_json)
    else:
        _answer(run_loop(_carried_out(settings_of(context), job, chosen, every, detach)), as_json)


class Report(NamedTuple):
    kind: JobKind
    matched: int
    missing: tuple[str, ...] = ()
    """Ids that were given, but name no letter of the right state."""
    job: str | None = None
    ran: Ran = Ran(JobState.DONE, {})
    dry_run: bool = False

    @property
    def done(self) -> str:
        """The name of the result that was wanted."""
        return ItemState[f"{self.kind.name}ED"].name.lower()


def _chosen(wanted: LetterFilter, ids: list[str] | None, every: bool) -> LetterFilter:
    if ids:
        return wanted._replace(ids=tuple(dict.fromkeys(line(each) or "" for each in ids)))
    if not wanted.is_narrow and not every:
        raise typer.BadParameter("which letters? give ids, a filter, or --all")
    return wanted


def _job(kind: JobKind, chosen: LetterFilter, reason: str | None, rate: float | None) -> NewJob:
    told = chosen.told() | ({"rate": rate} if rate else {})
    return NewJob(SystemRuntime().token(), kind, operator(), told, reason, rate)


async def _matched(settings: Settings, chosen: LetterFilter) -> int:
    async with opened(settings) as database, database.snapshot() as snapshot:
        return sum((await count_by_handler(snapshot, chosen)).values())


async def _carried_out(
    settings: Settings, job: NewJob, chosen: LetterFilter, every: bool, detach: bool
) -> Report:
    async with opened(settings) as database:
        async with database.snapshot() as snapshot:
            matched = sum((await count_by_handler(snapshot, chosen)).values())
            missing = await _missing(snapshot, chosen)
        if matched > 1 and not every:
            raise typer.BadParameter(f"{matched} letters match: give --all to {job.kind.name.lower()} them")
        if not matched:
            return Report(job.kind, 0, missing)
        if detach:
            total = await make_job(database, job, chosen, None, every)
            return Report(job.kind, total, missing, job.id, Ran(JobState.RUNNING, {}))
        async with runner_for(settings, database, job.kind) as runner:
            total = await make_job(database, job, chosen, runner.owner, every)
            ran = await run_to_end(database, runner, job.id, total)
        return Report(job.kind, total, missing, job.id, ran)


async def _missing(snapshot: Transaction, chosen: LetterFilter) -> tuple[str, ...]:
    if chosen.ids is None:
        return ()
    found = {row.id async for row in find_letters(snapshot, chosen)}
    return tuple(id_ for id_ in chosen.ids if id_ not in found)


def _answer(report: Report, as_json: bool) -> None:
    counts, state = report.ran.counts, report.ran.state.name.lower()
    done = counts.get(report.done, 0)
    if as_json:
        told: dict[str, Any] = {"matched": report.matched, report.done: done, "dry_run": report.dry_run}
        if not report.dry_run:
            told |= {"job": report.job, "state": state}
            told |= {name: counts.get(name, 0) for name in ("passed_over", "too_large")}
        print_json(told)
    elif report.dry_run:
        print(f"{report.matched} would be {report.done}")
    elif report.ran.state is JobState.RUNNING:
        print(f"job {report.job}: {report.matched} letters, left to the workers")
    else:
        others = [f"{counts[name]} {name}" for name in counts if name != report.done and counts[name]]
        print(", ".join([f"{done} {report.done}", *others]).replace("_", " "))
    for id_ in report.missing:
        complain(f"no dead letter that can be {report.done} has the id {id_}")
    fine = report.ran.state in (JobState.DONE, JobState.RUNNING) and not counts.get("too_large")
    if report.missing or not fine:
        raise typer.Exit(1)
