"""What effects depend on, as their handlers say; bounded, whatever they say."""

import structlog

from consumer.item import Item
from handlers.protocol import EffectHandler

log = structlog.get_logger(__name__)

LONGEST_NAME = 100
MOST_DEPENDENCIES = 100
"""Of one handler: a breaker for each customer, say, would never learn anything."""


class KnownDependencies:
    """Owns the names that one handler has used so far."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def fit(self, said: object) -> str | None:
        """The name as it may be used; None: it may not."""
        if not isinstance(said, str) or not said.isprintable() or not 0 < len(said) <= LONGEST_NAME:
            return None
        if said not in self._names and len(self._names) >= MOST_DEPENDENCIES:
            return None
        self._names.add(said)
        return said


class Dependencies:
    """Owns what each handler has named for events so far."""

    def __init__(self) -> None:
        self._known: dict[str, KnownDependencies] = {}

    def of(self, handler: EffectHandler, item: Item) -> str:
        """A dependency's name; the handler's own when it names none, or none that will do."""
        name = getattr(handler, "dependency", None)
        if name is None:
            return handler.name
        try:
            said = name(item.event)
        except Exception as error:
            # It will say what it does not like when the effect runs, where that has its tries.
            log.warning("no_dependency", handler=handler.name, error=type(error).__name__)
            return handler.name
        return self._known.setdefault(handler.name, KnownDependencies()).fit(said) or handler.name
