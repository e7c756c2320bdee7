"""The check of an effect handler: whatever happens to the worker, the outside looks as after a calm run."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from handlers.protocol import EffectHandler, Handlers
from handlers.terms import terms_of
from handlers.testing.findings import Left, compare
from handlers.testing.stage import Stage, opened
from handlers.testing.trouble import Dies, FailsBefore, Failures, LosesAnswer, Run, running

TURNS = (1, 2, 4, 8, 16)
"""Of the event loop: how far a call has come when its worker is killed."""


class Trial(NamedTuple):
    """A handler, and the outside it acts on. Both are new for each run."""

    make: Callable[[], EffectHandler]
    """The handler as a starting worker makes it: called again after each crash."""
    seen: Callable[[], object | Awaitable[object]]
    """What the outside shows. Compared with ==, so what comes in no order should not be a list."""


Outside = Callable[[], AbstractAsyncContextManager[Trial]]


async def check_effect_handler(outside: Outside, bodies: Sequence[bytes]) -> None:
    """Raises Broken if, for these deliveries, any of this makes a difference to a calm run:

    - duplicates, and another order of the deliveries;
    - a batch that is rolled back and settled anew;
    - a try that fails before anything was done, and the next one;
    - an answer that is lost, and the next try with the same key;
    - a worker that dies after the call, or at various moments during it, and the next worker's try.

    After a crash only what is seen counts, not how the effect ended. A handler that is given up
    where others are tried again (`retry.attempts` 1, `on_unknown` "give_up") is spared the second tries.
    """
    calm = await _calm(outside, bodies)
    several = [body for body in bodies for _ in range(3)]
    for trouble, deliveries in (
        ("duplicates", [*several, *bodies]),
        ("another order", [*reversed(bodies)]),
        ("another order", [*bodies[1:], *bodies[:1]]),
    ):
        compare(trouble, calm, await _run(outside, deliveries))
    compare("a batch that was rolled back", calm, await _run(outside, bodies, rolled_back=True))
    after = "a crash after the effect, tried again with the same key"
    compare(after, calm, await _crashed(outside, bodies, None), outcomes=False)
    async with outside() as trial:
        terms = terms_of(trial.make())
        if terms.retry.attempts == 1 or terms.on_unknown == "give_up":
            return
    compare("a try that failed before", calm, await _run(outside, bodies, FailsBefore().run))
    compare("a lost answer, tried again", calm, await _run(outside, bodies, LosesAnswer().run))
    for turns in TURNS:
        during = f"a crash during the call ({turns} turns of the loop into it)"
        compare(during, calm, await _crashed(outside, bodies, turns), outcomes=False)


async def _calm(outside: Outside, bodies: Sequence[bytes]) -> Left:
    failures = Failures()
    calm = await _run(outside, bodies, failures.run, given_up=failures.noted)
    failures.check()
    return calm


async def _run(
    outside: Outside,
    bodies: Sequence[bytes],
    run: Run | None = None,
    *,
    rolled_back: bool = False,
    given_up: asyncio.Event | None = None,
) -> Left:
    """One delivery after the other, each delivered before the next comes. `given_up`: set when that is of no
    use any more: an effect whose dependency never answers would wait for ever."""
    async with outside() as trial, opened() as stage:
        handler = trial.make()
        handler = running(handler, run) if run else handler
        handlers = Handlers(effect=(handler,))
        async with handlers.opened(stage.database):
            for body in bodies:
                await stage.take_in(handlers, [body], handlers if rolled_back else None)
                await stage.deliver(handler, given_up)
        return await _left(stage, trial, handler)


async def _crashed(outside: Outside, bodies: Sequence[bytes], turns: int | None) -> Left:
    """Every effect's first try ends with its worker. One at a time: a crash takes no other try with it."""
    dies = Dies(turns)
    async with outside() as trial, opened() as stage:
        handler = trial.make()
        await stage.take_in(Handlers(effect=(handler,)), bodies)
        while True:
            dies.killed = killed = asyncio.Event()
            async with Handlers(effect=(handler,)).opened(stage.database):
                await stage.deliver(running(handler, dies.run, concurrency=1), killed)
            if not killed.is_set():
                return await _left(stage, trial, handler)
            handler = trial.make()


async def _left(stage: Stage, trial: Trial, handler: EffectHandler) -> Left:
    seen = trial.seen()
    return Left(await stage.outcomes(handler.name), await seen if inspect.isawaitable(seen) else seen)
