"""The handlers that the settings ask for: the one place that puts them together."""

from collections.abc import Collection

from cli.notifications_policy import notifications_in, serving_notifications_in
from config.settings import Settings
from events.failures import Misconfigured
from events.runtime import Runtime
from handlers.loyalty.policy import Policy
from handlers.notifications.handler import Notifications
from handlers.protocol import Handlers
from handlers.registry import load_handlers
from handlers.terms_file import load_terms


def handlers_in(
    settings: Settings,
    policy: Policy,
    runtime: Runtime,
    *,
    serving: bool = False,
    only: Collection[str] = (),
    log: bool = False,
) -> Handlers:
    """`policy`: the ledger's. `serving`: to run them, within their `opened`, which needs the secrets of the
    channels. `only`, `log`: as for `load_handlers`. Raises Misconfigured."""
    asked_for = Notifications.name in only
    if serving and (asked_for or not only):
        notifications = serving_notifications_in(settings, runtime)
        if asked_for and notifications is None:
            raise Misconfigured("notifications_policy", "the notifications file has no rules")
    else:
        notifications = notifications_in(settings, runtime)
    return load_handlers(
        settings.handlers,
        policy,
        notifications=notifications,
        only=only,
        log=log,
        terms=load_terms(settings.delivery_policy) if settings.delivery_policy else {},
    )
