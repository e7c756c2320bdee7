"""What channels must not show: signing secrets, passwords, URLs that are secrets. From the environment or
from files, never from the notifications file itself."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from handlers.loyalty.readings import UNPRINTABLE
from handlers.notifications.policy import Channel, Policy
from handlers.tables import WrongPolicy

PREFIX = "whsec_"
SHORTEST, LONGEST = 16, 128
"""Bytes of a signing key."""


class Credentials(NamedTuple):
    """Of one channel."""

    url: str = ""
    keys: tuple[bytes, ...] = ()
    """All of them sign."""
    authorization: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"  # a traceback must not show them


def credentials_of(policy: Policy, environment: Mapping[str, str]) -> dict[str, Credentials]:
    """By channel. Raises WrongPolicy; no fault quotes a secret."""
    faults: list[str] = []
    found = {}
    for name, channel in policy.channels.items():
        given = _Given(channel, f"channels.{name}", environment, faults)
        found[name] = Credentials(
            given.url(), given.keys(), given.text("authorization"), given.text("password")
        )
    if faults:
        raise WrongPolicy(faults)
    return found


class _Given:
    """One channel's `…_env` and `…_file` keys."""

    def __init__(
        self, channel: Channel, place: str, environment: Mapping[str, str], faults: list[str]
    ) -> None:
        self._channel = channel
        self._place = place
        self._environment = environment
        self._faults = faults

    def text(self, key: str) -> str | None:
        variable, file = (getattr(self._channel, f"{key}_{source}", None) for source in ("env", "file"))
        if variable is not None:
            value = self._environment.get(variable)
            return self._fit(f"{key}_env", value, f"the environment has no {variable}")
        if file is not None:
            try:
                value = Path(file).read_bytes().decode()
            except (OSError, UnicodeDecodeError):
                value = None
            return self._fit(f"{key}_file", value, f"{file} cannot be read")
        return None

    def _fit(self, key: str, value: str | None, missing: str) -> str | None:
        text = None if value is None else value.strip()
        if not text:
            self._faults.append(f"{self._place}.{key}: {missing if text is None else 'is empty'}")
        elif UNPRINTABLE.search(text) or not text.isascii():
            self._faults.append(f"{self._place}.{key}: holds characters that no header may have")
        return text

    def url(self) -> str:
        literal = getattr(self._channel, "url", None)
        key = next((f"url_{source}" for source in ("env", "file") if self._has(f"url_{source}")), "url")
        url = literal if literal is not None else self.text("url")
        if url is not None and (fault := url_fault(url)):
            self._faults.append(f"{self._place}.{key}: {fault}")
        return url or ""

    def keys(self) -> tuple[bytes, ...]:
        text = self.text("secret")
        keys = []
        for secret in (text or "").split():
            key = _key(secret)
            if key is None:
                source = "secret_env" if self._has("secret_env") else "secret_file"
                self._faults.append(
                    f"{self._place}.{source}: must be {PREFIX} and {SHORTEST} to {LONGEST} bytes in base64"
                )
            else:
                keys.append(key)
        return tuple(keys)

    def _has(self, key: str) -> bool:
        return getattr(self._channel, key, None) is not None


def _key(secret: str) -> bytes | None:
    if not secret.startswith(PREFIX):
        return None
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return None
    return key if SHORTEST <= len(key) <= LONGEST else None


def url_fault(url: str) -> str | None:
    """Why a URL can be no target. Does not quote it: it may be a secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no URL"
    if UNPRINTABLE.search(url) or " " in url:
        return "holds blanks or control characters"
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        return "must begin with https:// (or http://) and name a host"
    if parts.username is not None or parts.password is not None:
        return "must hold no user and password: use authorization_env or authorization_file"
    return None


def unprotected(policy: Policy, credentials: Mapping[str, Credentials]) -> Iterator[str]:
    """The channels whose messages travel unprotected or stay on this machine: rarely meant in production."""
    for name, channel in policy.channels.items():
        url = urlsplit(credentials[name].url)
        if url.scheme == "http":
            yield f"{name}: http:// is neither encrypted nor authenticated"
        elif url.hostname is not None and _is_private(url.hostname):
            yield f"{name}: its target is a private or loopback address"
        if getattr(channel, "security", None) == "none":
            yield f"{name}: mail goes unencrypted"


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ip_address(host).is_global
    except ValueError:
        return False
