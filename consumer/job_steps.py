"""One step of a job: a few letters replayed or discarded, and their results stored under the job's lease."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from broker.protocols import Producer
from consumer.replay import publish
from consumer.waiting import GivenUp
from storage.database import Database, Transaction
from storage.dead_letters import load_letters
from storage.jobs import Item, JobLease, Settled, end_job, keep_job, next_items, settle_items
from storage.letter_changes import discard_letters, mark_replayed
from storage.schema import ItemState, JobKind, JobState

LEASE_SECONDS = 30.0
LETTERS = 200
"""In one step, at most."""
BYTES = 8 * 1024 * 1024
"""Of bodies in one step, unless one letter alone is larger."""


class LeaseLost(GivenUp):
    """Somebody else works on this job now."""


class Step(NamedTuple):
    """How far a step came."""

    state: JobState
    """Anything but RUNNING: there is nothing more to do."""
    letters: int = 0


class JobSteps:
    """Takes the steps of leased jobs, one after the other.

    A crash between publishing and storing repeats a step. Its records are of the same generation, and one of
    a generation that was worked on already changes nothing.
    """

    def __init__(self, database: Database, producer: Producer, topic: str) -> None:
        self._database = database
        self._producer = producer
        self._topic = topic

    async def step(self, lease: JobLease, most: int = LETTERS) -> Step:
        """Raises LeaseLost, or Unavailable: then take the step again."""
        async with self._database.transaction() as transaction:
            state = await self._keep(transaction, lease)
            if state is JobState.CANCELLED:
                await end_job(transaction, lease.job, state)
            if state is not JobState.RUNNING:
                return Step(state)
            items = _within_bytes(await next_items(transaction, lease.job, min(most, LETTERS)))
            if not items:
                await end_job(transaction, lease.job, JobState.DONE)
                return Step(JobState.DONE)
        settle = self._replay if lease.kind is JobKind.REPLAY else self._discard
        return Step(await settle(lease, items), len(items))

    async def keep(self, lease: JobLease) -> JobState:
        """Extend the lease while nothing is to be done. Raises LeaseLost."""
        async with self._database.transaction() as transaction:
            return await self._keep(transaction, lease)

    async def _keep(self, transaction: Transaction, lease: JobLease) -> JobState:
        state = await keep_job(transaction, lease, LEASE_SECONDS)
        if state is None:
            raise LeaseLost
        return state

    async def _replay(self, lease: JobLease, items: Sequence[Item]) -> JobState:
        async with self._database.snapshot() as snapshot:
            found = await load_letters(snapshot, [item.letter for item in items], lease.states)
        letters = [
            letter
            for item in items
            if (letter := found.get(item.letter)) and letter.replays == item.generation
        ]
        taken = await publish(self._producer, self._topic, letters)
        async with self._database.transaction() as transaction:
            state = await self._keep(transaction, lease)
            published = [(letter.id, letter.replays + 1) for letter in letters if taken[letter.id]]
            await mark_replayed(transaction, published, lease.job)
            await self._store(transaction, lease, state, [_replayed(item, taken) for item in items])
        return state

    async def _discard(self, lease: JobLease, items: Sequence[Item]) -> JobState:
        async with self._database.transaction() as transaction:
            state = await self._keep(transaction, lease)
            chosen = [(item.letter, item.generation) for item in items]
            done = await discard_letters(transaction, chosen, lease.job)
            await self._store(transaction, lease, state, [_discarded(item, done) for item in items])
        return state

    async def _store(
        self, transaction: Transaction, lease: JobLease, state: JobState, settled: Sequence[Settled]
    ) -> None:
        await settle_items(transaction, lease.job, settled)
        if state is JobState.CANCELLED:  # meanwhile: whoever did left the end to us
            await end_job(transaction, lease.job, state)


def _within_bytes(items: Sequence[Item]) -> Sequence[Item]:
    total = 0
    for count, item in enumerate(items):
        total += item.size
        if total > BYTES and count:
            return items[:count]
    return items


def _replayed(item: Item, taken: Mapping[str, bool]) -> Settled:
    if item.letter not in taken:
        return Settled(item.position, ItemState.PASSED_OVER, item.generation)
    if not taken[item.letter]:
        return Settled(item.position, ItemState.TOO_LARGE, item.generation)
    return Settled(item.position, ItemState.REPLAYED, item.generation + 1)


def _discarded(item: Item, done: Collection[str]) -> Settled:
    state = ItemState.DISCARDED if item.letter in done else ItemState.PASSED_OVER
    return Settled(item.position, state, item.generation)
