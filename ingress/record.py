"""The log record made of a request: the body byte for byte, a key, and headers nobody can smuggle into."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from broker.protocols import Headers
from events.decode import interpret
from events.delivery import unwrap
from events.event import Ignored
from events.failures import Malformed
from events.keys import record_key
from events.reading import read
from events.runtime import Runtime

# What does not match goes no further: these values end up in headers and logs.
_SAFE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Content(NamedTuple):
    """What the door wants to know of a body: its record key, and what it is counted as."""

    key: bytes | None
    type: str


def content_of(body: bytes, tenant: str) -> Content:
    """Never fails: an authentic body that cannot be read is accepted and set aside by the worker."""
    key = None
    try:
        content = read(body)
        key = record_key(content)
        event = interpret(content, tenant)
        enveloped_type = unwrap(content).event_type
    except Malformed:
        return Content(key, "malformed")
    if isinstance(event, Ignored):
        return Content(key, event.type)
    return Content(key, enveloped_type or event.kind.value)


def record_headers(tenant: str, request_headers: Sequence[tuple[bytes, bytes]], runtime: Runtime) -> Headers:
    received = datetime.fromtimestamp(runtime.now(), UTC).isoformat(timespec="milliseconds")
    request_id = _only(request_headers, b"x-request-id", _SAFE_REQUEST_ID)
    traceparent = _only(request_headers, b"traceparent", _TRACEPARENT)
    headers = [
        ("tenant", tenant.encode()),
        ("received-at", received.replace("+00:00", "Z").encode()),
        ("request-id", request_id or runtime.token().encode()),
    ]
    return headers if traceparent is None else [*headers, ("traceparent", traceparent)]


def _only(headers: Sequence[tuple[bytes, bytes]], name: bytes, pattern: re.Pattern[bytes]) -> bytes | None:
    """The value of a header that is given once and matches `pattern`."""
    values = [value for key, value in headers if key == name]
    return values[0] if len(values) == 1 and pattern.fullmatch(values[0]) else None
