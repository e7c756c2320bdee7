"""One bad event stops nothing: a transactional handler is applied so that only the culprit is set aside."""

from collections.abc import Sequence

from events.event import RedemptionEvent
from events.failures import Failure, Refused
from handlers.protocol import Skipped, TransactionalHandler
from storage.database import Transaction
from storage.errors import failure_of

Verdict = Refused | Skipped | Exception


async def apply_isolated(
    handler: TransactionalHandler, events: Sequence[RedemptionEvent], transaction: Transaction
) -> dict[int, Verdict]:
    """Apply a handler to a batch; returns by index what was not simply done.

    Raises Unavailable or Misconfigured when the database is to blame: then the whole batch is tried again.
    Anything else that the handler raises splits the batch in halves, each in a savepoint of its own; the one
    event left is tried once more, then its exception is its verdict.
    """
    try:
        return await _in_savepoint(handler, events, transaction)
    except Exception as error:
        _raise_if_not_the_events_fault(error)
        if len(events) == 1:
            return await _once_more(handler, events, transaction, error)
    middle = len(events) // 2
    first = await apply_isolated(handler, events[:middle], transaction)
    second = await apply_isolated(handler, events[middle:], transaction)
    return first | {middle + index: verdict for index, verdict in second.items()}


async def _in_savepoint(
    handler: TransactionalHandler, events: Sequence[RedemptionEvent], transaction: Transaction
) -> dict[int, Verdict]:
    notes = len(transaction.notes)
    try:
        async with transaction.savepoint():
            return dict(await handler.apply(events, transaction))
    except Exception:
        del transaction.notes[notes:]
        raise


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
    except Exception as again:
        _raise_if_not_the_events_fault(again)
        return {0: again}


def _raise_if_not_the_events_fault(error: Exception) -> None:
    failure = failure_of(error)
    if failure is error:
        raise error
    if failure is not None:
        raise failure from error
