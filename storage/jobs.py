"""Stored jobs: letters chosen once, worked on by whoever holds the lease, until each has its result."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from storage.audit import Deed, conclude
from storage.database import Transaction
from storage.letter_queries import LetterFilter
from storage.schema import ItemState, JobKind, JobState, LetterState

ACTIONS = {JobKind.REPLAY: "dead-letters replay", JobKind.DISCARD: "dead-letters discard"}


class NewJob(NamedTuple):
    """What an operator asks for."""

    id: str
    """That of its deed in the audit."""
    kind: JobKind
    who: str
    what: Mapping[str, Any]
    """The choice of letters, as `LetterFilter.told` tells it, and how they are worked on."""
    reason: str | None = None
    rate: float | None = None
    """Letters a second, at most."""

    @property
    def deed(self) -> Deed:
        return Deed(self.id, self.who, ACTIONS[self.kind], self.what, self.reason, subject=self.id)


class JobLease(NamedTuple):
    """A claimed job: only who holds owner and number may work on it."""

    job: str
    owner: str
    number: int
    kind: JobKind
    rate: float | None
    states: tuple[LetterState, ...]
    """Letters that are in another state by now are passed over."""


class Item(NamedTuple):
    position: int
    letter: str
    generation: int
    """How often the letter had been replayed when it was chosen. One that died again since is another case,
    which nobody has looked at."""
    size: int
    """Bytes of the letter's body; 0 for one that is gone."""


class Settled(NamedTuple):
    """What became of one letter. `generation`: that of its replay, else that in which it was chosen."""

    position: int
    state: ItemState
    generation: int


async def create_job(
    transaction: Transaction, job: NewJob, wanted: LetterFilter, owner: str | None, seconds: float
) -> int:
    """Choose the letters, for good, and store the job; returns how many they are. With an `owner` it is
    leased to them at once, before any worker sees it."""
    where, parameters = wanted.where(transaction.dialect)
    await transaction.run(
        "INSERT INTO job_items (job, position, letter, generation) SELECT CAST(:job AS text), "
        "row_number() OVER (ORDER BY first_seen, id), id, replays FROM dead_letters "
        f"WHERE {where}",
        job=job.id,
        **parameters,
    )
    counted = await transaction.run("SELECT count(*) AS items FROM job_items WHERE job = :job", job=job.id)
    total: int = counted[0].items
    await transaction.run(
        "INSERT INTO jobs (id, kind, who, reason, what, rate, total, created_at, lease_owner, leased_until) "
        "VALUES (:id, :kind, :who, :reason, :what, :rate, :total, {now}, CAST(:owner AS text), "
        "CASE WHEN CAST(:owner AS text) IS NOT NULL THEN {now} + CAST(:lease AS bigint) END)",
        id=job.id,
        kind=int(job.kind),
        who=job.who,
        reason=job.reason,
        what=msgspec.json.encode(job.what).decode(),
        rate=job.rate,
        total=total,
        owner=owner,
        lease=int(seconds * 1000),
    )
    return total


async def claim_job(
    transaction: Transaction, owner: str, seconds: float, job: str | None = None
) -> JobLease | None:
    """Lease a job that nobody works on, this one or the oldest; None: there is none. It runs, or it was
    cancelled while its runner died, and has to be ended."""
    skip = "{lock} SKIP LOCKED" if transaction.dialect == "postgresql" else ""
    rows = await transaction.run(
        "UPDATE jobs SET lease_owner = CAST(:owner AS text), lease_number = lease_number + 1, "
        "leased_until = {now} + CAST(:lease AS bigint) WHERE id = ("
        f"SELECT id FROM jobs WHERE ended_at IS NULL AND state <> {JobState.PAUSED} "
        "AND (leased_until IS NULL OR leased_until <= {now} OR lease_owner = CAST(:owner AS text)) "
        f"AND id = coalesce(CAST(:job AS text), id) ORDER BY created_at, id LIMIT 1 {skip}) "
        "RETURNING id, lease_number, kind, rate, what",
        owner=owner,
        lease=int(seconds * 1000),
        job=job,
    )
    if not rows:
        return None
    row = rows[0]
    states = tuple(LetterState[name.upper()] for name in msgspec.json.decode(row.what)["states"])
    return JobLease(row.id, owner, row.lease_number, JobKind(row.kind), row.rate, states)


async def keep_job(transaction: Transaction, lease: JobLease, seconds: float) -> JobState | None:
    """Extend the lease, and lock the job; returns its state, or None if the lease is lost."""
    rows = await transaction.run(
        "UPDATE jobs SET leased_until = {now} + CAST(:lease AS bigint) "
        "WHERE id = :id AND lease_owner = :owner AND lease_number = :number RETURNING state",
        lease=int(seconds * 1000),
        id=lease.job,
        owner=lease.owner,
        number=lease.number,
    )
    return JobState(rows[0].state) if rows else None


async def release_job(transaction: Transaction, lease: JobLease) -> None:
    """Leave the job to others at once."""
    await transaction.run(
        "UPDATE jobs SET lease_owner = NULL, leased_until = NULL "
        "WHERE id = :id AND lease_owner = :owner AND lease_number = :number",
        id=lease.job,
        owner=lease.owner,
        number=lease.number,
    )


async def next_items(transaction: Transaction, job: str, limit: int) -> list[Item]:
    """The first letters that have no result yet."""
    length = "octet_length" if transaction.dialect == "postgresql" else "length"
    rows = await transaction.run(
        f"SELECT i.position, i.letter, i.generation, coalesce({length}(d.value), 0) AS size FROM job_items i "
        "LEFT JOIN dead_letters d ON d.id = i.letter WHERE i.job = :job "
        "AND i.position > (SELECT position FROM jobs WHERE id = :job) ORDER BY i.position LIMIT :limit",
        job=job,
        limit=limit,
    )
    return [Item._make(row) for row in rows]


async def settle_items(transaction: Transaction, job: str, settled: Sequence[Settled]) -> None:
    """Store results of the next items, which must be all up to the last of them."""
    await transaction.run_each(
        "UPDATE job_items SET state = :state, generation = :generation, at = {now} "
        "WHERE job = :job AND position = :position",
        [one._asdict() | {"job": job, "state": int(one.state)} for one in settled],
    )
    await transaction.run(
        "UPDATE jobs SET position = :position WHERE id = :id",
        id=job,
        position=max(one.position for one in settled),
    )


async def change_state(
    transaction: Transaction, job: str, before: Sequence[JobState], after: JobState
) -> bool:
    """Pause, resume or cancel; returns whether the job was in one of the states `before`."""
    among = ", ".join(str(int(state)) for state in before)
    rows = await transaction.run(
        f"UPDATE jobs SET state = {after} WHERE id = :id AND state IN ({among}) RETURNING id", id=job
    )
    return bool(rows)


async def end_job(transaction: Transaction, job: str, state: JobState) -> None:
    """The job has ended: done or cancelled. Its deed has its result in the audit, in numbers."""
    rows = await transaction.run(
        f"UPDATE jobs SET state = {state}, ended_at = {{now}}, lease_owner = NULL, leased_until = NULL "
        "WHERE id = :id RETURNING kind, who, reason, what",
        id=job,
    )
    row = rows[0]
    new = NewJob(job, JobKind(row.kind), row.who, msgspec.json.decode(row.what), row.reason)
    await conclude(transaction, new.deed, await count_items(transaction, job), state.name.lower())


async def count_items(transaction: Transaction, job: str) -> dict[str, int]:
    """How many letters of a job have which result."""
    rows = await transaction.run(
        "SELECT state, count(*) AS items FROM job_items WHERE job = :job GROUP BY state", job=job
    )
    found = {row.state: row.items for row in rows}
    return {state.name.lower(): found.get(state, 0) for state in ItemState}


async def is_leased(transaction: Transaction, job: str) -> bool:
    """Whether somebody works on it right now. Locks the job."""
    rows = await transaction.run(
        "SELECT leased_until > {now} AS leased FROM jobs WHERE id = :id {lock}", id=job
    )
    return bool(rows and rows[0].leased)


async def job_runs(transaction: Transaction) -> bool:
    """Whether any job is worked on, or waits for it."""
    rows = await transaction.run(
        f"SELECT EXISTS (SELECT 1 FROM jobs WHERE ended_at IS NULL AND state = {JobState.RUNNING}) AS runs"
    )
    return bool(rows[0].runs)
