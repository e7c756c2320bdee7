"""Moments as payloads tell them, in milliseconds since 1970."""

from datetime import UTC, datetime

from events.event import Kind, RedemptionEvent
from events.payload import Leaf

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(value: Leaf) -> int | None:
    """An ISO 8601 date. One that cannot be read is absent: it never fails an event."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - EPOCH
    # Divided by a timedelta it would take twice as long, with all that comes before.
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def happened_at(event: RedemptionEvent) -> int | None:
    """When what the event tells of happened: of a rollback its own date, else that of the redemption."""
    rollback, redemption = event.data.redemption_rollback, event.data.redemption
    if event.kind is Kind.ROLLED_BACK and rollback is not None:
        date = moment_of(rollback.date)
        if date is not None:
            return date
    return None if redemption is None else moment_of(redemption.date)
