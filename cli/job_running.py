"""Making a job and running it in the foreground, until it ends or somebody stops it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from cli.log import log_of
from cli.operator import deed_of
from cli.output import complain
from config.settings import Settings
from consumer.job_steps import LEASE_SECONDS
from consumer.jobs import AtOnce, JobRunner
from events.failures import Refused, Unavailable
from events.runtime import SystemRuntime
from storage.audit import announce, audited, conclude
from storage.database import Database
from storage.jobs import NewJob, change_state, count_items, create_job
from storage.letter_queries import LetterFilter
from storage.schema import JobKind, JobState


class Ran(NamedTuple):
    """How a job came out."""

    state: JobState
    counts: dict[str, int]
    """Letters by result."""


@asynccontextmanager
async def runner_for(settings: Settings, database: Database, kind: JobKind) -> AsyncIterator[JobRunner]:
    """Raises Unavailable where a replay has no log to write to."""
    runtime = SystemRuntime()
    producer = log_of(settings, runtime).producer()
    if kind is JobKind.REPLAY:
        await producer.start()
    try:
        yield JobRunner(database, producer, settings.events_topic, runtime, AtOnce())
    finally:
        if kind is JobKind.REPLAY:
            await producer.stop()


async def make_job(
    database: Database, job: NewJob, wanted: LetterFilter, owner: str | None, every: bool
) -> int:
    """Put the deed on record, then choose the letters and store the job; returns how many they are.

    With an `owner` no worker takes it while they run it. Raises Refused for more letters than one that were
    not asked for: some can have died a moment ago.
    """
    await announce(database, job.deed)
    try:
        async with database.transaction() as transaction:
            total = await create_job(transaction, job, wanted, owner, LEASE_SECONDS)
            if total > 1 and not every:
                raise Refused("more_letters", f"{total} letters match by now: give --all for them")
    except Exception:
        async with database.transaction() as transaction:
            await conclude(transaction, job.deed, {}, "failed")
        raise
    return total


async def run_to_end(database: Database, runner: JobRunner, job: str, total: int) -> Ran:
    """Run a job until all is done. Ctrl-C pauses it; an outage leaves it to the workers."""
    with _counter(total) as told:
        try:
            state = await runner.complete(job, told)
        except asyncio.CancelledError:
            if await pause(database, job, {"by": "Ctrl-C"}):
                complain(f"paused: `redemptions jobs resume {job}` goes on")
            raise
        except Unavailable as failure:
            later = f"job {job} goes on in the workers, or by `redemptions jobs resume {job}`"
            raise Unavailable(failure.reason, f"{failure}; {later}") from failure
    async with database.snapshot() as snapshot:
        return Ran(state, await count_items(snapshot, job))


async def pause(database: Database, job: str, what: Mapping[str, str]) -> bool:
    """Returns whether it ran."""
    async with audited(database, deed_of("jobs pause", what, subject=job)) as counts:
        async with database.transaction() as transaction:
            paused = await change_state(transaction, job, (JobState.RUNNING,), JobState.PAUSED)
        counts["jobs"] = int(paused)
    return paused


@contextmanager
def _counter(total: int) -> Iterator[Callable[[int], None]]:
    """A line on stderr for people who watch."""
    done, is_shown = 0, sys.stderr.isatty()

    def told(letters: int) -> None:
        nonlocal done
        done += letters
        if is_shown:
            print(f"\r{done} of {total}", end="", file=sys.stderr, flush=True)

    try:
        yield told
    finally:
        if is_shown:
            print(file=sys.stderr)
