"""What effects depend on, as their handlers say; bounded, whatever they say."""

import structlog

from consumer.item import Item
from handlers.protocol import EffectHandler

log = structlog.get_logger(__name__)

LONGEST_NAME = 100
MOST_DEPENDENCIES = 100
"""Of one handler: a breaker for each customer, say, would never learn anything."""


class Dependencies:
    """Owns what each handler has named so far."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}

    def of(self, handler: EffectHandler, item: Item) -> str:
        """A dependency's name; the handler's own when it names none, or none that will do."""
        name = getattr(handler, "dependency", None)
        known = self._known.setdefault(handler.name, {handler.name})
        if name is None:
            return handler.name
        try:
            said = name(item.event)
        except Exception as error:
            # It will say what it does not like when the effect runs, where that has its tries.
            log.warning("no_dependency", handler=handler.name, error=type(error).__name__)
            return handler.name
        fit = isinstance(said, str) and said.isprintable() and 0 < len(said) <= LONGEST_NAME
        if not fit or (said not in known and len(known) >= MOST_DEPENDENCIES):
            return handler.name
        known.add(said)
        return str(said)
