"""Runs stored jobs: in a worker whatever job is due, one at a time; in a command the one it was asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeVar

import structlog

from broker.protocols import Producer
from consumer.job_steps import LEASE_SECONDS, LETTERS, JobSteps
from consumer.waiting import GivenUp, set_within
from events.failures import Failure
from events.runtime import Runtime
from storage.database import Database
from storage.job_queries import show_job
from storage.jobs import JobLease, claim_job, release_job
from storage.schema import JobState

log = structlog.get_logger(__name__)
T = TypeVar("T")

POLL_SECONDS = 1.0
"""How soon a job that nobody works on, a pause or a cancellation is noticed."""


class Outlasting(Protocol):
    """What is done about work that fails: a `Patience`, or nothing."""

    async def outlast(
        self, name: str, work: Callable[[], Awaitable[T]], given_up: asyncio.Event | None = None
    ) -> T: ...


class AtOnce:
    """No patience: a command says what is wrong, and the job is left to others."""

    async def outlast(
        self, name: str, work: Callable[[], Awaitable[T]], given_up: asyncio.Event | None = None
    ) -> T:
        return await work()


class JobRunner:
    """Works on one job at a time, under a lease that dies with it."""

    def __init__(
        self, database: Database, producer: Producer, topic: str, runtime: Runtime, patience: Outlasting
    ) -> None:
        self.owner = runtime.token()
        self._database = database
        self._steps = JobSteps(database, producer, topic)
        self._runtime = runtime
        self._patience = patience

    async def run(self, stop: asyncio.Event) -> None:
        """Work on whatever job is due, until `stop`."""
        while not stop.is_set():
            # Given up: told to stop, or somebody else has the job. Then it is in their hands.
            with suppress(GivenUp):
                lease = await self._patience.outlast("jobs", self._claim, stop)
                if lease is None:
                    await set_within(stop, POLL_SECONDS)
                else:
                    await self._work(lease, stop)

    async def complete(self, job: str, told: Callable[[int], None]) -> JobState:
        """Work on this job, or wait for who does, until it has ended or is paused; tells of letters done."""
        never = asyncio.Event()
        while True:
            with suppress(GivenUp):
                if lease := await self._claim(job):
                    await self._work(lease, never, told)
            async with self._database.snapshot() as snapshot:
                row = await show_job(snapshot, job)
            if row is None or row.state != JobState.RUNNING:
                return JobState.CANCELLED if row is None else JobState(row.state)
            await set_within(never, POLL_SECONDS)

    async def _claim(self, job: str | None = None) -> JobLease | None:
        async with self._database.transaction() as transaction:
            return await claim_job(transaction, self.owner, LEASE_SECONDS, job)

    async def _work(
        self, lease: JobLease, stop: asyncio.Event, told: Callable[[int], None] = lambda letters: None
    ) -> None:
        """Until the job ends, is paused or lost, or `stop`."""
        log.info("job_claimed", job=lease.job)
        most = LETTERS if lease.rate is None else max(1, int(lease.rate))
        try:
            while not stop.is_set():
                began = self._runtime.monotonic()
                step = await self._patience.outlast("jobs", lambda: self._steps.step(lease, most), stop)
                told(step.letters)
                if step.state is not JobState.RUNNING:
                    log.info("job_left", job=lease.job, state=step.state.name.lower())
                    break
                if lease.rate is not None:
                    await self._pause_until(began + step.letters / lease.rate, lease, stop)
        finally:
            # Others need not wait for the lease to expire. It does, where this cannot be said.
            with suppress(Failure):
                await self._release(lease)

    async def _pause_until(self, due: float, lease: JobLease, stop: asyncio.Event) -> None:
        """Keep the job and wait, unless it stops meanwhile."""
        while (left := due - self._runtime.monotonic()) > 0 and not stop.is_set():
            await set_within(stop, min(left, POLL_SECONDS))
            state = await self._patience.outlast("jobs", lambda: self._steps.keep(lease), stop)
            if state is not JobState.RUNNING:
                return

    async def _release(self, lease: JobLease) -> None:
        async with self._database.transaction() as transaction:
            await release_job(transaction, lease)
