"""The notifications that the settings ask for."""

import os
from pathlib import Path

import structlog

import config
from config.settings import Settings
from events.runtime import Runtime
from handlers.notifications.credentials import unprotected
from handlers.notifications.handler import Notifications
from handlers.notifications.policy_file import load_credentials, load_policy

log = structlog.get_logger(__name__)

PACKAGED = Path(config.__file__).parent / "notifications.toml"


def notifications_in(settings: Settings, runtime: Runtime) -> Notifications:
    """The handler as it is shown; it cannot be `opened`. Raises Misconfigured."""
    return Notifications(load_policy(_file(settings)), {}, runtime)


def serving_notifications_in(settings: Settings, runtime: Runtime) -> Notifications | None:
    """The handler with the secrets of its channels. None: the file has no rules, and what workers with rules
    have stored is theirs to deliver. Raises Misconfigured."""
    path = _file(settings)
    policy = load_policy(path)
    if not policy.rules:
        return None
    credentials = load_credentials(policy, path, os.environ)
    if open_ways := list(unprotected(policy, credentials)):
        log.warning("notifications_unprotected", channels=open_ways)
    return Notifications(policy, credentials, runtime)


def _file(settings: Settings) -> Path:
    return settings.notifications_policy or PACKAGED
