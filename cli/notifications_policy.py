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


def notifications_in(settings: Settings, runtime: Runtime, *, serving: bool = False) -> Notifications:
    """The handler; to be `opened` only when `serving`, which needs the channels' secrets. Raises
    Misconfigured."""
    path = settings.notifications_policy or PACKAGED
    policy = load_policy(path)
    if not serving:
        return Notifications(policy, {}, runtime)
    credentials = load_credentials(policy, path, os.environ)
    if open_ways := list(unprotected(policy, credentials)):
        log.warning("notifications_unprotected", channels=open_ways)
    return Notifications(policy, credentials, runtime)
