"""What happened to the redemption, decided before anything else: a rollback carries the id of its success,
and in it `redemption` may still say SUCCESS.
"""

from typing import NamedTuple

from events.event import Kind
from events.failures import Malformed
from events.payload import Data, Redemption


class Happening(NamedTuple):
    """A kind, and whether it is the redemption or its rollback that succeeded or failed."""

    kind: Kind
    of_rollback: bool


_SUCCEEDED = Happening(Kind.SUCCEEDED, of_rollback=False)
_FAILED = Happening(Kind.FAILED, of_rollback=False)
_ROLLED_BACK = Happening(Kind.ROLLED_BACK, of_rollback=True)
_ROLLBACK_FAILED = Happening(Kind.FAILED, of_rollback=True)

HAPPENINGS = {
    "redemption.succeeded": _SUCCEEDED,
    "redemption.failed": _FAILED,
    "redemption.rollback.succeeded": _ROLLED_BACK,
    "redemption.rollback.failed": _ROLLBACK_FAILED,
    "customer.redemption.succeeded": _SUCCEEDED,
    "customer.redemption.failed": _FAILED,
    "customer.redemption.rollback.succeeded": _ROLLED_BACK,
    "customer.redemption.rollback.failed": _ROLLBACK_FAILED,
}
"""By event type: the types that concern us."""


def happening_of(event_type: str | None, data: Data) -> Happening:
    """`event_type` is one of HAPPENINGS, or None: then the payload alone decides.

    Raises Malformed (rollback_under_success, type_contradicts_result) where type and payload disagree.
    """
    if event_type is None:
        return _told_by(data)
    happening = HAPPENINGS[event_type]
    if happening is _SUCCEEDED and data.redemption_rollback is not None:
        raise Malformed("rollback_under_success", f"a redemption_rollback in an event of type {event_type}")
    if _contradicts(happening, data):
        raise Malformed("type_contradicts_result", f"the payload says otherwise than its type {event_type}")
    return happening


def _told_by(data: Data) -> Happening:
    rollback, redemption = data.redemption_rollback, data.redemption
    if rollback is not None:
        return _ROLLBACK_FAILED if _says_failed(rollback) else _ROLLED_BACK
    if redemption is not None and _says_failed(redemption):
        return _FAILED
    if redemption is not None and _says_undone(redemption):
        return _ROLLED_BACK
    return _SUCCEEDED


def _contradicts(happening: Happening, data: Data) -> bool:
    rollback, redemption = data.redemption_rollback, data.redemption
    if happening is _ROLLED_BACK:
        # Only the rollback's own word counts when there is one: beside it `redemption` is a stale snapshot.
        said = rollback if rollback is not None else redemption
        return said is not None and _says_failed(said)
    if happening is _ROLLBACK_FAILED:
        return rollback is not None and _says_succeeded(rollback)
    if happening is _FAILED:
        if rollback is not None:
            return True
        return redemption is not None and (_says_succeeded(redemption) or _says_undone(redemption))
    return redemption is not None and (_says_failed(redemption) or _says_undone(redemption))


def _says_failed(said: Redemption) -> bool:
    if said.result == "FAILURE" or said.status == "FAILED":
        return True
    return isinstance(said.id, str) and said.id.startswith(("rf_", "rrf_"))


def _says_succeeded(said: Redemption) -> bool:
    return bool(said.result == "SUCCESS" or said.status == "SUCCEEDED")


def _says_undone(said: Redemption) -> bool:
    """The event schema writes it with a blank, every example and the REST schemas with an underscore."""
    return said.status in ("ROLLED BACK", "ROLLED_BACK")
