"""What operators order: jobs on dead letters, made and run as their commands do it."""

from broker.protocols import Producer
from consumer.job_steps import LEASE_SECONDS
from consumer.jobs import AtOnce, JobRunner
from events.runtime import Runtime, SystemRuntime
from storage.audit import announce
from storage.database import Database
from storage.jobs import NewJob, count_items, create_job
from storage.letter_queries import LetterFilter
from storage.schema import JobKind, JobState
from tests.consumer.scripted import TOPIC

OPEN = LetterFilter()


async def ordered(
    database: Database,
    wanted: LetterFilter = OPEN,
    kind: JobKind = JobKind.REPLAY,
    rate: float | None = None,
    owner: str | None = None,
) -> str:
    """Make a job; returns its id."""
    job = NewJob(SystemRuntime().token(), kind, "ada", wanted.told(), "because", rate)
    await announce(database, job.deed)
    async with database.transaction() as transaction:
        await create_job(transaction, job, wanted, owner, LEASE_SECONDS)
    return job.id


def runner(database: Database, log: Producer, runtime: Runtime | None = None) -> JobRunner:
    return JobRunner(database, log, TOPIC, runtime or SystemRuntime(), AtOnce())


async def counts_of(database: Database, job: str) -> dict[str, int]:
    async with database.snapshot() as snapshot:
        return await count_items(snapshot, job)


async def worked_on(
    database: Database, log: Producer, wanted: LetterFilter = OPEN, kind: JobKind = JobKind.REPLAY
) -> tuple[JobState, dict[str, int]]:
    """Make a job and run it to its end; returns how it ended and the letters by result."""
    job = await ordered(database, wanted, kind)
    state = await runner(database, log).complete(job, lambda letters: None)
    return state, await counts_of(database, job)
