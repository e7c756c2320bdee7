"""What a delivery means once it is read: a redemption event, or something we acknowledge and leave alone."""

from enum import StrEnum

from msgspec import Struct

from events.payload import Data


class Kind(StrEnum):
    """What happened to a redemption. Decided before dedup: a rollback carries the id of its success."""

    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


class Shape(StrEnum):
    """How the payload was delivered (contract: project envelope, distribution envelope, raw)."""

    PROJECT = "project"
    DISTRIBUTION = "distribution"
    RAW = "raw"


class RedemptionEvent(Struct, frozen=True, gc=False):
    """One redemption succeeded, was rolled back, or failed.

    `redemption_id` is the redemption concerned: for a rollback the original one that was undone.
    `key` makes two deliveries the same event, whatever webhook they came by.
    """

    tenant: str
    kind: Kind
    shape: Shape
    redemption_id: str
    rollback_id: str | None
    data: Data
    body: bytes = b""
    """What was delivered, byte for byte, for whoever needs more than `data` names."""

    @property
    def key(self) -> tuple[str, str, Kind]:
        return (self.tenant, self.redemption_id, self.kind)


class Ignored(Struct, frozen=True, gc=False):
    """Acknowledged and counted, leaves no row: another event type, or a test send."""

    type: str
    """The event type, or `test-send`; a label of bounded length, safe to log."""
