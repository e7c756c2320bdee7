"""`send --fresh`: the ids and times of a body made new, the same way in every file of one call."""

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

_IDS = (
    ("redemption", "id"),
    ("redemption", "redemption"),
    ("redemption", "order", "id"),
    ("redemption_rollback", "id"),
    ("redemption_rollback", "redemption"),
    ("redemption_rollback", "order", "id"),
    ("order", "id"),
    ("event", "id"),
    ("id",),
)
_TIMES = (
    ("redemption", "date"),
    ("redemption_rollback", "date"),
    ("event", "created_at"),
    ("created_at",),
)


class Freshening:
    """Replaces what it has seen by what it made of it, so that a rollback still names its success.

    Bodies are edited as bytes, not written anew: numbers and spaces stay as they are in the file.
    """

    def __init__(self) -> None:
        self._fresh: dict[str, str] = {}
        self._now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def apply(self, body: bytes) -> bytes:
        """`body` with new ids and the present time; a body that is no JSON object comes back as it is."""
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return body
        for old in set(_found(content, _IDS)):
            body = _replaced(body, old, self._fresh.setdefault(old, _new_id(old)))
        for old in set(_found(content, _TIMES)):
            body = _replaced(body, old, self._now)
        return body


def _replaced(body: bytes, old: str, new: str) -> bytes:
    return body.replace(json.dumps(old).encode(), json.dumps(new).encode())


def _new_id(old: str) -> str:
    """An id of the same kind. One of zeros marks a test send and stays."""
    prefix, underscore, rest = old.rpartition("_")
    if not rest.strip("0-"):
        return old
    return f"{prefix}{underscore}{secrets.token_hex(9)}"


def _found(content: Any, paths: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    """The texts at these paths, in an envelope's `data` as well as at the top."""
    for part in (content, _at(content, ("data",))):
        for path in paths:
            value = _at(part, path)
            if isinstance(value, str) and value:
                yield value


def _at(content: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content
