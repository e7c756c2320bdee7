"""Settings as they may be shown: no secret, wrong settings included."""

import hashlib
import re
from typing import NamedTuple

from config.given import SECRETS, Given
from config.settings import PREFIX, Settings
from config.webhook_secrets import parse_webhook_secrets

MASK = "***"
_PASSWORD = re.compile(r"(?i)(password|passwd|pwd|secret|token)=[^&\s]*")


class Shown(NamedTuple):
    value: str | None
    """None: not set, and there is no default."""
    origin: str
    """The name it was given by, or `default`."""


def masked(given: Given) -> dict[str, Shown]:
    """Every setting by its full name: what was given, else the default. Works on wrong settings as well."""
    return {PREFIX + name.upper(): _shown(name, given) for name in Settings.model_fields}


def _shown(name: str, given: Given) -> Shown:
    if name in given.texts:
        text = given.texts[name]
        return Shown(_mask(name, text.value), text.label)
    default = Settings.model_fields[name].default
    return Shown(None if default is None else _plain(default), "default")


def _mask(name: str, value: str) -> str:
    if name == "webhook_secrets":
        return fingerprints(value)
    if name in SECRETS and name != "database_url":
        return MASK
    return scrubbed(value) if "://" in value else MASK if name == "database_url" else value


def scrubbed(url: str) -> str:
    """A URL without its passwords: rather too little of it is shown than too much."""
    scheme, _, rest = url.partition("://")
    # Up to the last @: a password may hold one that nobody escaped.
    userinfo, at, place = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    return _PASSWORD.sub(rf"\1={MASK}", f"{scheme}://{user}{colon}{MASK if colon else ''}{at}{place}")


def fingerprints(value: str) -> str:
    """Which webhook secrets are live, by tenant: enough to tell two apart, too little to use one."""
    try:
        secrets = parse_webhook_secrets(value)
    except ValueError:
        return MASK
    return ", ".join(
        f"{tenant}={' '.join(hashlib.sha256(secret.encode()).hexdigest()[:8] for secret in each)}"
        for tenant, each in secrets.items()
    )


def _plain(default: object) -> str:
    if isinstance(default, tuple | dict):
        return ""
    return str(default)
