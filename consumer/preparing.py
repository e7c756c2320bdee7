"""Has handlers compute ahead of a batch what needs no database, while that one works on the batch before."""

from collections.abc import Sequence

import structlog

from consumer.asking import Asking
from consumer.item import Item
from handlers.protocol import Handlers

log = structlog.get_logger(__name__)


async def prepare(handlers: Handlers, asking: Asking, items: Sequence[Item]) -> None:
    """Never raises for a handler's sake: whatever is wrong with an event shows when the batch is applied, one
    event at a time."""
    for handler in handlers.transactional:
        if not hasattr(handler, "prepare"):
            continue
        events = [
            event
            for item in items
            if (event := item.event) and event.kind in handler.kinds and item.addresses(handler.name)
        ]
        if not events:
            continue
        try:
            await handler.prepare(events)
        except Exception as error:
            log.warning("handler_not_prepared", handler=handler.name, reason=type(error).__name__)
    await asking.prepare(items)
