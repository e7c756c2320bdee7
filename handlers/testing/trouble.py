"""Handlers in trouble: the user's own one, wrapped so that a chosen thing goes wrong around it, once."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import event as sqlalchemy_event

from events.event import RedemptionEvent
from events.failures import Refused, Unavailable
from handlers.protocol import Attempt, Deferred, EffectHandler, Skipped, TransactionalHandler, Verdicts
from handlers.testing.findings import Broken
from storage.database import Transaction
from storage.driver import Driver

Run = Callable[[EffectHandler, Attempt], Any]
Apply = Callable[[TransactionalHandler, Sequence[RedemptionEvent], Transaction], Any]


class _Wrapped:
    """Everything the handler has, but for one method."""

    def __init__(self, handler: Any, **replaced: Any) -> None:
        self._handler = handler
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)


def running(handler: EffectHandler, run: Run, **replaced: Any) -> EffectHandler:
    """The handler with `run` around its own."""

    async def wrapped(attempt: Attempt) -> Skipped | Deferred | None:
        return cast(Skipped | Deferred | None, await run(handler, attempt))

    return cast(EffectHandler, _Wrapped(handler, run=wrapped, **replaced))


def applying(handler: TransactionalHandler, apply: Apply) -> TransactionalHandler:
    """The handler with `apply` around its own."""

    async def wrapped(events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        return cast(Verdicts, await apply(handler, events, transaction))

    return cast(TransactionalHandler, _Wrapped(handler, apply=wrapped))


class Failures:
    """Notes what a handler raises when nothing is done to it."""

    def __init__(self) -> None:
        self.first: Exception | None = None
        self.noted = asyncio.Event()

    async def run(self, handler: EffectHandler, attempt: Attempt) -> Skipped | Deferred | None:
        with self._noted():
            return await handler.run(attempt)

    async def apply(
        self, handler: TransactionalHandler, events: Sequence[RedemptionEvent], transaction: Transaction
    ) -> Verdicts:
        with self._noted():
            return await handler.apply(events, transaction)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except Refused:
            raise
        except asyncio.CancelledError:  # in a calm run by nothing else
            self.first = self.first or TimeoutError("it took longer than its timeout")
            self.noted.set()
            raise
        except Exception as error:
            self.first = self.first or error
            self.noted.set()
            raise

    def check(self) -> None:
        if self.first is not None:
            raise Broken(f"a calm run: the handler raised {self.first!r}") from self.first


class FailsBefore:
    """The first try at each effect fails before the handler is asked."""

    def __init__(self) -> None:
        self._met: set[str] = set()

    async def run(self, handler: EffectHandler, attempt: Attempt) -> Skipped | Deferred | None:
        if attempt.key not in self._met:
            self._met.add(attempt.key)
            raise Unavailable("testing", "the harness let this try fail", sent=False)
        return await handler.run(attempt)


class LosesAnswer:
    """The first try at each effect does it, and the answer is lost."""

    def __init__(self) -> None:
        self._met: set[str] = set()

    async def run(self, handler: EffectHandler, attempt: Attempt) -> Skipped | Deferred | None:
        answer = await handler.run(attempt)
        if attempt.key not in self._met:
            self._met.add(attempt.key)
            raise ConnectionError("the harness lost the answer of this try")
        return answer


class Dies:
    """The worker dies at the first try of each effect: `turns` turns of the event loop into it; None: when
    it is done and not stored yet."""

    def __init__(self, turns: int | None = None) -> None:
        self._turns = turns
        self._met: set[str] = set()
        self.killed = asyncio.Event()

    async def run(self, handler: EffectHandler, attempt: Attempt) -> Skipped | Deferred | None:
        if attempt.key in self._met:
            return await handler.run(attempt)
        self._met.add(attempt.key)
        call = asyncio.ensure_future(handler.run(attempt))
        try:
            await self._let_run(call)
            self.killed.set()
            await asyncio.Event().wait()  # until this task ends with its worker
            return None
        finally:
            call.cancel()
            await asyncio.wait([call])
            _ = call.cancelled() or call.exception()  # looked at: nobody is to be told of it

    async def _let_run(self, call: asyncio.Future[Skipped | Deferred | None]) -> None:
        if self._turns is None:
            await asyncio.wait([call])
            return
        for _ in range(self._turns):
            await asyncio.sleep(0)
        call.cancel()  # at once: it must not come any further


class Splits:
    """Something unexpected happens once the handler has applied a batch: it is undone and given in halves."""

    def __init__(self) -> None:
        self._met = False

    async def apply(
        self, handler: TransactionalHandler, events: Sequence[RedemptionEvent], transaction: Transaction
    ) -> Verdicts:
        verdicts = await handler.apply(events, transaction)
        if not self._met:
            self._met = True
            raise RuntimeError("the harness undid this call")
        return verdicts


class LosesStatement:
    """The database goes away at the handler's statement number `number`, the first time."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.reached = False

    async def apply(
        self, handler: TransactionalHandler, events: Sequence[RedemptionEvent], transaction: Transaction
    ) -> Verdicts:
        if self.reached:
            return await handler.apply(events, transaction)
        engine, driver = transaction.connection.sync_engine, transaction.driver
        sqlalchemy_event.listen(engine, "before_cursor_execute", self._count)
        transaction.driver = cast(Driver, _Counted(driver, self._count))
        try:
            return await handler.apply(events, transaction)
        finally:
            transaction.driver = driver
            sqlalchemy_event.remove(engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached = True
            raise Unavailable("testing", "the harness took the database away")


class _Counted:
    """A driver of whose statements each is told of before it is run."""

    def __init__(self, driver: Driver, count: Callable[[], None]) -> None:
        self._driver = driver
        self._count = count

    def __getattr__(self, name: str) -> Any:
        run = getattr(self._driver, name)

        async def counted(*values: Any) -> Any:
            self._count()
            return await run(*values)

        return counted
