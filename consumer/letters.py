"""From a record that failed to its dead letter."""

from broker.protocols import Record
from consumer.item import Item
from events.failures import Failure
from events.keys import ids_of
from storage.dead_letters import Letter, clean, letter_id

DEAD_LETTER_TOPIC = "dead-letter-topic"
"""The handler of the effect that puts a letter on the dead-letter topic."""
LONGEST_REASON = 100


def letter_of(item: Item, group: str, handler: str | None, error: Exception, attempts: int) -> Letter:
    """The letter for `handler`, or for nobody when the record was Malformed.

    A replayed record that dies again in the same handler is the same letter, one generation on.
    """
    record, event, replay = item.record, item.event, item.replay
    again = replay if replay is not None and replay.handler == handler else None
    redemption_id, customer_id = ids_of(record.value)
    return Letter(
        id=again.letter if again else origin_id(record, group, handler),
        consumer_group=group,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        handler=handler,
        tenant=item.tenant,
        kind=event.kind.value if event else None,
        redemption_id=event.redemption_id if event else redemption_id,
        customer_id=customer_id,
        reason=clean(error.reason, LONGEST_REASON) if isinstance(error, Failure) else "handler_error",
        error_class=f"{type(error).__module__}.{type(error).__qualname__}",
        error=sentence_of(error),
        attempts=attempts,
        replays=again.generation if again else 0,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
    )


def sentence_of(error: Exception) -> str:
    """One line about an error, fit to be stored and logged.

    Never more: a database's DETAIL line and a statement's parameters quote the data.
    """
    try:
        lines = str(error).splitlines()
    except Exception:
        lines = []
    return clean(lines[0] if lines else type(error).__name__)


def origin_id(record: Record, group: str, handler: str | None) -> str:
    return letter_id(group, record.topic, record.partition, record.offset, record.timestamp, handler)
