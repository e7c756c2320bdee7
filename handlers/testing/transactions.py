"""The check of a transactional handler: whatever order, whatever is undone, its tables come out the same."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import count

from handlers.protocol import Handlers, TransactionalHandler
from handlers.testing.findings import Left, compare
from handlers.testing.stage import opened
from handlers.testing.trouble import Apply, Failures, LosesStatement, Splits, applying
from storage.database import Transaction

MOST_STATEMENTS = 50
"""The database is taken away at each of so many statements, not more."""

Make = Callable[[], TransactionalHandler]
Prepare = Callable[[Transaction], Awaitable[object]]
Seen = Callable[[Transaction], Awaitable[object]]


class _Check:
    def __init__(self, make: Make, prepare: Prepare, seen: Seen) -> None:
        self._make = make
        self._prepare = prepare
        self._seen = seen

    async def run(
        self,
        batches: Iterable[Sequence[bytes]],
        apply: Apply | None = None,
        *,
        rolled_back: bool = False,
        restarted: bool = False,
    ) -> Left:
        """`rolled_back`: each batch, once, before its commit. `restarted`: by a handler that is gone then."""
        async with opened() as stage:
            async with stage.database.transaction() as transaction:
                await self._prepare(transaction)
            handler = self._wrapped(apply)
            for batch in filter(None, batches):
                undone = Handlers((handler,)) if rolled_back else None
                handler = self._wrapped(apply) if restarted else handler
                await stage.take_in(Handlers((handler,)), batch, undone)
            async with stage.database.snapshot() as snapshot:
                seen = await self._seen(snapshot)
            return Left(await stage.outcomes(handler.name), seen)

    def _wrapped(self, apply: Apply | None) -> TransactionalHandler:
        return applying(self._make(), apply) if apply else self._make()


async def check_transactional_handler(
    make: Make, bodies: Sequence[bytes], *, prepare: Prepare, seen: Seen
) -> None:
    """Raises Broken if, for these deliveries, any of this makes a difference to a calm run:

    - batches of other sizes, duplicates, another order of the deliveries;
    - a transaction that is rolled back and begun anew, by the same worker or the next one;
    - a batch that is undone and applied in halves;
    - a database that goes away at any one of the handler's statements.

    `make` makes the handler; `prepare` makes its tables in an empty database, `seen` reads what is to be
    compared (with ==, so in an order of its own).
    """
    check, ones, whole = _Check(make, prepare, seen), [[body] for body in bodies], [list(bodies)]
    failures = Failures()
    calm = await check.run(ones, failures.apply)
    failures.check()
    several = [body for body in bodies for _ in range(3)]
    backwards = list(reversed(bodies))
    for trouble, batches in (
        ("one batch", whole),
        ("duplicates in one batch", [several]),
        ("duplicates in later batches", [*ones, list(bodies), *reversed(ones)]),
        ("another order", [[body] for body in backwards]),
        ("another order in one batch", [backwards]),
        ("another order", [list(bodies[1:]), list(bodies[:1])]),
    ):
        compare(trouble, calm, await check.run(batches))
    for trouble, batches in (("rolled back", ones), ("a batch rolled back", whole)):
        compare(f"{trouble} and begun anew", calm, await check.run(batches, rolled_back=True))
        again = await check.run(batches, rolled_back=True, restarted=True)
        compare(f"{trouble} and begun anew by the next worker", calm, again)
    compare("a batch undone and applied in halves", calm, await check.run(whole, Splits().apply))
    for number in count(1):
        loses = LosesStatement(number)
        left = await check.run(whole, loses.apply)
        if not loses.reached or number > MOST_STATEMENTS:
            break
        compare(f"the database away at statement {number} of the handler", calm, left)
