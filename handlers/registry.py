"""Which handlers there are: the built-in ones, those of installed packages, and those the settings name."""

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from events.failures import Misconfigured
from handlers.log import Log
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.policy import Policy
from handlers.notifications.handler import Notifications
from handlers.protocol import Handlers
from handlers.record import Record
from storage.handler_states import DECODING

ENTRY_POINTS = "redemptions.handlers"
NEEDED = {
    "apply": ("kinds", "keeps_marks"),
    "run": ("kinds", "concurrency", "timeout", "retry", "wants"),
}
"""By the method that makes a handler what it is: what else it must have."""
RESERVED = (DECODING, "dead-letter-topic")
"""What stands in place of a handler's name elsewhere."""


def load_handlers(
    paths: Iterable[str],
    policy: Policy,
    *,
    notifications: Notifications | None = None,
    only: Iterable[str] = (),
    log: bool = False,
) -> Handlers:
    """The handlers of a worker: built-in, by entry point, and from `paths` (`module:Class`, made without
    arguments). `policy`: the ledger's. `only`: no others than these names. `log`: with the log handler.

    Raises Misconfigured for what cannot be imported, is no handler, or has a name twice or unknown.
    """
    made: list[Any] = [
        Loyalty(policy),
        Record(),
        *([notifications] if notifications else []),
        *([Log()] if log else []),
    ]
    made += [_made(point.value) for point in entry_points(group=ENTRY_POINTS)]
    made += [_made(path) for path in paths]
    return _sorted_out(_chosen(made, list(only)))


def _made(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        handler = getattr(import_module(module), name)()
    except Exception as error:
        raise Misconfigured("handlers", f"cannot load the handler {path}: {error}") from error
    if not isinstance(getattr(handler, "name", None), str):
        raise Misconfigured("handlers", f"the handler {path} has no name")
    return handler


def _chosen(made: list[Any], only: list[str]) -> list[Any]:
    names = [handler.name for handler in made]
    for name in names:
        if name in RESERVED:
            raise Misconfigured("handlers", f"the name {name} is not free for a handler: choose another")
        if names.count(name) > 1:
            raise Misconfigured("handlers", f"two handlers have the name {name}")
    for name in only:
        if name not in names:
            raise Misconfigured("handlers", f"no handler has the name {name}: there are {', '.join(names)}")
    return [handler for handler in made if not only or handler.name in only or hasattr(handler, "settled")]


def _sorted_out(handlers: list[Any]) -> Handlers:
    for handler in handlers:
        if not any(hasattr(handler, method) for method in ("apply", "run", "settled")):
            raise Misconfigured("handlers", f"the handler {handler.name} has none of apply, run and settled")
        lacking = [name for method, needed in NEEDED.items() if hasattr(handler, method) for name in needed]
        if lacking := [name for name in lacking if not hasattr(handler, name)]:
            # Noticed at the first event only, it would stop the intake.
            raise Misconfigured("handlers", f"the handler {handler.name} lacks {', '.join(lacking)}")
    return Handlers(
        transactional=tuple(handler for handler in handlers if hasattr(handler, "apply")),
        effect=tuple(handler for handler in handlers if hasattr(handler, "run")),
        observers=tuple(handler for handler in handlers if hasattr(handler, "settled")),
    )
