"""Mutations of the way from a record to its outcome: offsets, positions, marks, letters, replays."""

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from consumer.batch import Batch, bury
from consumer.intake import Intake
from consumer.item import Item
from consumer.settler import Settler
from consumer.worker import Worker
from events.failures import Unavailable
from storage.database import Database, Transaction
from storage.effects import insert_effects, revive_effects
from storage.positions import store_positions
from storage.schema import State
from tests.simulation.mutation import mutation, rewritten


@mutation
def offsets_are_committed_before_the_outcome() -> Iterator[None]:
    real = Worker._settle

    async def settle(self: Any, fetched: Any, follows: Any) -> None:
        self._committer.note(fetched.epoch, fetched.next_offsets)
        await real(self, fetched, follows)

    with patch.object(Worker, "_settle", settle):
        yield


@mutation
def the_offset_of_what_was_fetched_is_committed() -> Iterator[None]:
    """The highest seen, instead of the end of what is settled."""
    real = Worker._settle

    async def settle(self: Any, fetched: Any, follows: Any) -> None:
        await real(self, fetched, follows)
        self._committer.note(fetched.epoch, dict(self._places.fetched))

    with patch.object(Worker, "_settle", settle):
        yield


@mutation
def positions_may_move_back() -> Iterator[None]:
    words = {"WHERE positions.next_offset < excluded.next_offset": ""}
    with patch("consumer.batch.store_positions", rewritten(store_positions, words)):
        yield


@mutation
def a_batch_takes_along_what_comes_behind_the_next() -> Iterator[None]:
    class Open(asyncio.Lock):
        """That nobody minds."""

        async def acquire(self) -> Any:
            return True

        def release(self) -> None: ...

    real = Intake.__init__

    def made(self: Any, *values: Any, **named: Any) -> None:
        real(self, *values, **named)
        self._fetching = Open()

    with patch.object(Intake, "__init__", made):
        yield


@mutation
def the_position_is_not_read_at_assignment() -> Iterator[None]:
    def start_of(stored: int | None, committed: int | None, bounds: Any) -> int:
        return bounds.start if committed is None else committed

    with patch("consumer.placing.start_of", start_of):
        yield


@mutation
def an_older_database_is_not_noticed() -> Iterator[None]:
    async def went_back(*_: Any) -> bool:
        return False

    with patch("consumer.worker.went_back", went_back), patch("consumer.placing.went_back", went_back):
        yield


@mutation
def duplicates_are_not_noticed() -> Iterator[None]:
    async def insert(transaction: Any, states: dict[Any, Any], *more: Any) -> set[Any]:
        await insert_effects(transaction, states, *more)
        return set(states)

    with patch("consumer.batch.insert_effects", insert):
        yield


@mutation
def letters_are_stored_in_a_transaction_of_their_own() -> Iterator[None]:
    async def forget(*_: Any) -> None: ...

    settle = Settler.settle

    async def later(self: Any, *arguments: Any) -> Any:
        stored = await settle(self, *arguments)
        if stored is not None and stored.batch is not None and stored.batch.letters:
            async with self._database.transaction() as transaction:
                await bury(transaction, stored.batch.letters)
        return stored

    with patch("consumer.batch.bury", forget), patch.object(Settler, "settle", later):
        yield


@mutation
def a_replay_runs_all_handlers() -> Iterator[None]:
    ended = [State.DONE, State.DEAD, State.SKIPPED, State.DISCARDED]

    async def revive(transaction: Any, states: Any, *_: Any, **more: Any) -> set[Any]:
        return await revive_effects(transaction, states, ended, **more)

    with (
        patch("consumer.batch.revive_effects", revive),
        patch.object(Item, "addresses", lambda *_: True),
    ):
        yield


@mutation
def a_replay_counts_as_an_ordinary_record() -> Iterator[None]:
    """The handler that failed is never asked again."""
    real = Batch._claim

    async def claim(self: Any, asked: Any) -> None:
        self._items = [replace(item, replay=None) for item in self._items]
        await real(self, asked)

    with patch.object(Batch, "_claim", claim):
        yield


@mutation
def what_a_handler_did_before_it_raised_stays() -> Iterator[None]:
    @asynccontextmanager
    async def nested(self: Any) -> Any:
        yield

    with patch.object(Transaction, "savepoint", nested):
        yield


@mutation
def one_bad_event_takes_its_batch_along() -> Iterator[None]:
    async def apply_isolated(handler: Any, events: Any, transaction: Any, judge: Any) -> dict[int, Any]:
        try:
            async with transaction.savepoint():
                return dict(await handler.apply(events, transaction))
        except ValueError as error:
            return dict.fromkeys(range(len(events)), error)

    with patch("consumer.batch.apply_isolated", apply_isolated):
        yield


@mutation
def a_failed_commit_is_taken_for_done() -> Iterator[None]:
    real = Database.transaction

    @asynccontextmanager
    async def transaction(self: Any) -> Any:
        whole = False
        try:
            async with real(self) as opened:
                yield opened
                whole = True
        except Unavailable:
            if not whole:
                raise

    with patch.object(Database, "transaction", transaction):
        yield
