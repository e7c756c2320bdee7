"""Readings of a setting's text that pydantic does not know by itself. A ValueError says what is expected."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):(\d{1,5})")


def upper(value: str) -> str:
    return value.upper()


def lower(value: str) -> str:
    return value.lower()


def commas(value: Any) -> Any:
    """`a, b` as a tuple; what is no text passes as it is."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def addresses(value: str) -> str:
    """`host:port` entries with commas between them, blanks removed."""
    entries = commas(value)
    for entry in entries:
        match = _ADDRESS.fullmatch(entry)
        if match is None or not 0 < int(match[1]) < 65_536:
            raise ValueError("expected host:port, several with commas between them")
    return ",".join(entries)


def dsn(value: str) -> str:
    """What follows the scheme is the driver's business: sockets, sslmode, several hosts."""
    scheme, _, rest = value.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/") not in ("", ":memory:"):
        return value
    if scheme in ("postgresql", "postgres"):
        return value
    raise ValueError("expected sqlite:///path/of/a/file or postgresql://...")


def readable(path: Path) -> Path:
    """A file that can be opened now: found out at the start, not at the first use."""
    try:
        path.open("rb").close()
    except OSError as wrong:
        raise ValueError(f"cannot be read: {wrong.strerror}") from None
    return path


def web_address(value: str) -> str:
    """An http(s) URL without a slash at its end."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected https://host")
    return value.rstrip("/")
