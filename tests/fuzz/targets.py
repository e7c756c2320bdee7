"""What must hold whatever bytes anybody delivers. Each target takes bytes, and raises when it does not."""

import json
from collections.abc import Iterator
from typing import Any

from events.decode import decode
from events.drift import drift_in
from events.event import Ignored
from events.failures import Malformed
from events.ids import is_fit
from events.keys import ids_of
from events.reading import read_whole
from events.signature import matching_secret, sign, strip
from ingress.record import content_of
from tests.events.payloads import body as written
from tests.events.payloads import distribution, project
from tests.whole_path.mutations import HAPPENINGS

SECRETS = ("the-first-secret", "the-second-secret")


def meaning(body: bytes) -> None:
    """An event, something to leave alone, or Malformed; what it is known by is fit for any place."""
    told = content_of(body, "default")
    assert told.key is None or 0 < len(told.key) <= 255
    told.type.encode()
    for id in ids_of(body):
        assert id is None or is_fit(id)
    try:
        event = decode(body, "default")
    except Malformed as malformed:
        assert malformed.reason.isascii()
        str(malformed).encode()
        return
    for drift in drift_in(read_whole(body), event):
        assert "@" not in drift.seen, "personal, perhaps"
    if isinstance(event, Ignored):
        event.type.encode()
        assert "\n" not in event.type
        return
    assert is_fit(event.redemption_id)
    assert event.rollback_id is None or is_fit(event.rollback_id)
    assert event.body == body
    assert decode(body, "default") == event


def authenticity(delivery: bytes) -> None:
    """The first 64 bytes are the header, the rest is the body."""
    header, body = delivery[:64], delivery[64:]
    assert matching_secret(body, [header], SECRETS) is None, "a forgery"
    assert matching_secret(body, [header, header], SECRETS) is None
    stripped = strip(body)
    assert strip(stripped) == stripped
    assert stripped.translate(None, b" \t\r\n") == body.translate(None, b" \t\r\n")
    for slot, secret in enumerate(SECRETS):
        signature = sign(body, secret).encode()
        assert matching_secret(body, [signature], SECRETS) == slot
        assert matching_secret(body, [signature.upper()], SECRETS) == slot
        assert matching_secret(body + b"x", [signature], SECRETS) is None
    content = _json(body)
    assert content is None or _json(stripped) == content, "the signed text says something else"


def _json(text: bytes) -> Any:
    try:
        return json.dumps(json.loads(text))
    except (ValueError, RecursionError):
        return None


TARGETS = {"meaning": meaning, "authenticity": authenticity}


def documented() -> Iterator[bytes]:
    """What Voucherify documents, in every shape."""
    for happened, payload in HAPPENINGS.items():
        yield written(payload())
        yield written(project(payload(), happened))
        yield written(distribution(payload(), f"customer.{happened}"))
