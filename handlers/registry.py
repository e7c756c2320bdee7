"""Which handlers there are: the built-in ones, those of installed packages, and those the settings name."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from events.failures import Misconfigured
from handlers.log import Log
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.policy import Policy
from handlers.notifications.handler import Notifications
from handlers.protocol import Handlers
from handlers.record import Record
from handlers.terms import TermsTable, terms_of
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
    terms: Mapping[str, TermsTable] = MappingProxyType({}),
) -> Handlers:
    """The handlers of a worker: built-in, by entry point, and from `paths` (`module:Class`, made without
    arguments). `policy`: the ledger's. `only`: no others than these names. `log`: with the log handler.
    `terms`: what the operator says of effect handlers, by name.

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
    chosen = _sorted_out(_chosen(made, list(only)))
    calling = {handler.name: handler for handler in made if hasattr(handler, "run")}
    for name in terms:
        # Notifications without a rule are not there, and their table may be all the same.
        if name not in calling and name != Notifications.name:
            nearest = get_close_matches(name, calling, n=1, cutoff=0.0)
            hint = f"; did you mean {nearest[0]}?" if nearest else ": there is none"
            raise Misconfigured("delivery_policy", f"no effect handler has the name {name}{hint}")
    _check_order(made, {name: terms_of(handler).after for name, handler in calling.items()})
    return chosen._replace(
        terms={name: table.over(terms_of(calling[name])) for name, table in terms.items() if name in calling}
    )


def _check_order(made: list[Any], after: Mapping[str, frozenset[str]]) -> None:
    """An effect that waits for a handler that there is not, or for itself, would wait for ever."""
    names = {handler.name for handler in made}
    for name, before in after.items():
        if unknown := sorted(before - names):
            raise Misconfigured(
                "handlers", f"the handler {name} is to come after {unknown[0]}: there is none"
            )
        seen: set[str] = set()
        pending = set(before)
        while pending:
            seen |= pending
            pending = {earlier for one in pending for earlier in after.get(one, ())} - seen
        if name in seen:
            raise Misconfigured("handlers", f"the handler {name} is to come after itself")


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
