"""Mutations of the delivery of effects: leases, attempts, marks, letters."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import patch

from consumer.attempts import Attempts
from consumer.calls import Calls
from consumer.endings import done
from consumer.predecessors import Predecessors
from handlers.terms import Terms, terms_of
from storage import leases
from storage.breakers import read_signals
from storage.bundles import unneeded_bundles
from storage.leases import lease_due, store_results
from tests.simulation.mutation import mutation, rewritten


@mutation
def the_mark_is_stored_before_the_effect() -> Iterator[None]:
    async def attempt(self: Any, held: Any) -> Any:
        async def call() -> None:
            with suppress(Exception):
                await self._runs.ended(held)

        asyncio.create_task(call())  # noqa: RUF006 - the loop holds it
        none = Calls(held.lease.dependency, self._runs._known, self._runs._switches)
        return done(held.lease, held.load, None, none)

    with patch.object(Attempts, "_attempt", attempt):
        yield


@mutation
def a_dead_effect_leaves_no_letter() -> Iterator[None]:
    async def bury(*_: Any) -> None: ...

    with patch("consumer.work.bury", bury):
        yield


@mutation
def leases_are_not_renewed() -> Iterator[None]:
    async def renew_leases(transaction: Any, owner: str, leases: Any, seconds: float) -> set[Any]:
        return {lease.mark for lease in leases}

    with patch("consumer.exchange.renew_leases", renew_leases):
        yield


@mutation
def the_number_of_a_lease_is_ignored() -> Iterator[None]:
    words = {"AND effects.lease_owner = :owner ": "", "AND effects.lease_number = r.number": ""}
    with patch("consumer.exchange.store_results", rewritten(store_results, words)):
        yield


@mutation
def leases_of_the_dead_are_not_taken_over() -> Iterator[None]:
    async def take_over(*_: Any, **__: Any) -> list[Any]:
        return []

    with patch("consumer.claims.take_over", take_over):
        yield


@mutation
def a_lease_keeps_nobody_out() -> Iterator[None]:
    with patch("consumer.claims.lease_due", rewritten(lease_due, {" AND leased_until IS NULL": ""})):
        yield


@mutation
def attempts_are_not_counted() -> Iterator[None]:
    words = {"attempts = effects.attempts + CAST(:counted AS integer)": "attempts = effects.attempts"}
    with patch("storage.leases._claim", rewritten(leases._claim, words)):
        yield


@mutation
def a_call_of_unknown_outcome_is_repeated() -> Iterator[None]:
    def terms(handler: Any) -> Terms:
        return terms_of(handler)._replace(on_unknown="retry")

    with patch("consumer.work.terms_of", terms):
        yield


@mutation
def a_paused_handler_goes_on() -> Iterator[None]:
    async def signals(*arguments: Any) -> Any:
        return (await read_signals(*arguments))._replace(stopped=False)

    with patch("consumer.exchange.read_signals", signals):
        yield


@mutation
def records_that_are_needed_are_pruned() -> Iterator[None]:
    words = {"AND bundle IS NOT NULL": "AND bundle IS NULL AND bundle IS NOT NULL"}
    with patch("storage.pruning.unneeded_bundles", rewritten(unneeded_bundles, words)):
        yield


@mutation
def nobody_waits_for_the_handler_ahead() -> Iterator[None]:
    async def unsettled(*_: Any) -> set[Any]:
        return set()

    with patch.object(Predecessors, "unsettled", unsettled):
        yield
