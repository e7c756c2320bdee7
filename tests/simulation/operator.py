"""An operator of a simulated world: what some commands do to the database while workers work."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random

from events.failures import Unavailable
from storage.audit import announce
from storage.handler_states import Standing, resume_handler, stop_handler
from storage.jobs import NewJob, create_job
from storage.letter_queries import LetterFilter
from storage.pruning import prune
from storage.schema import JobKind
from tests.simulation.database import inline_database
from tests.simulation.store import Store

YEARS_DAYS = 3650.0


class Operator:
    """Anybody at a terminal that reaches the database."""

    def __init__(self, store: Store, chance: Random, trace: Callable[..., None]) -> None:
        self._database = inline_database(store)
        self._chance = chance
        self._trace = trace

    async def replay(self) -> None:
        """As `redemptions dead-letters replay --all --detach`: the workers do it."""
        wanted = LetterFilter()
        job = NewJob(f"{self._chance.getrandbits(64):016x}", JobKind.REPLAY, "ada", wanted.told())
        try:
            await announce(self._database, job.deed)
            async with self._database.transaction() as transaction:
                total = await create_job(transaction, job, wanted, None, 0.0)
            self._trace("ordered", total)
        except Unavailable as failure:
            self._trace("order failed", failure)

    async def pause(self, handler: str) -> None:
        """As `redemptions handlers pause`, which may fail."""
        with suppress(Unavailable):
            async with self._database.transaction() as transaction:
                await stop_handler(transaction, handler, Standing.PAUSED, "ada", "")
            self._trace("paused", handler)

    async def resume(self, *handlers: str) -> None:
        """As `redemptions handlers resume`, again until it has worked."""
        while True:
            try:
                async with self._database.transaction() as transaction:
                    for handler in handlers:
                        await resume_handler(transaction, handler, "ada", "")
                return
            except Unavailable:
                await asyncio.sleep(0.2)

    async def prune(self) -> None:
        """As `redemptions prune`, which may fail; letters are too young for it."""
        with suppress(Unavailable):
            await prune(self._database, YEARS_DAYS, {})
