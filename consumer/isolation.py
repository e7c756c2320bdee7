"""One bad event stops nothing: a transactional handler is applied so that only the culprit is set aside."""

from collections.abc import Callable, Mapping, Sequence

from events.event import RedemptionEvent
from events.failures import Failure, Misconfigured, Refused, Unavailable
from handlers.protocol import Skipped, TransactionalHandler
from storage.database import Transaction

Verdict = Refused | Skipped | Exception
Judge = Callable[[range, Mapping[int, Verdict]], None]
"""Is told the verdicts on events, by index, as soon as they are final, in order; may raise to end it all."""


async def apply_isolated(
    handler: TransactionalHandler,
    events: Sequence[RedemptionEvent],
    transaction: Transaction,
    judge: Judge,
    begin: int = 0,
) -> dict[int, Verdict]:
    """Apply a handler to a batch; returns by index, counted from `begin`, what was not simply done.

    Raises Unavailable or Misconfigured when the database is to blame: then the whole batch is tried again.
    Anything else that the handler raises splits the batch in halves, each in a savepoint of its own; the one
    event left is tried once more, then its exception is its verdict.
    """
    try:
        found: dict[int, Verdict] | None = await _in_savepoint(handler, events, transaction)
    except (Unavailable, Misconfigured):
        raise
    except Exception as error:
        found = await _once_more(handler, events, transaction, error) if len(events) == 1 else None
    if found is None:
        middle = len(events) // 2
        first = await apply_isolated(handler, events[:middle], transaction, judge, begin)
        return first | await apply_isolated(handler, events[middle:], transaction, judge, begin + middle)
    places = range(len(events))
    verdicts = {begin + index: verdict for index, verdict in found.items() if index in places}
    judge(range(begin, begin + len(events)), verdicts)
    return verdicts


async def _in_savepoint(
    handler: TransactionalHandler, events: Sequence[RedemptionEvent], transaction: Transaction
) -> dict[int, Verdict]:
    async with transaction.savepoint():
        verdicts: dict[int, Verdict] = dict(await handler.apply(events, transaction))
        if wrong := [verdict for verdict in verdicts.values() if not isinstance(verdict, (Refused, Skipped))]:
            raise TypeError(f"{handler.name} returned a {type(wrong[0]).__name__} as its verdict")
        return verdicts


async def _once_more(
    handler: TransactionalHandler,
    events: Sequence[RedemptionEvent],
    transaction: Transaction,
    error: Exception,
) -> dict[int, Verdict]:
    if isinstance(error, Failure):  # the handler knows what it says: Refused, raised instead of returned
        return {0: error}
    try:
        return await _in_savepoint(handler, events, transaction)
    except (Unavailable, Misconfigured):
        raise
    except Exception as again:
        return {0: again}
