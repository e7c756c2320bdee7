"""What became of one delivery, told after the commit to whoever wants to log or show it."""

from msgspec import Struct

from events.event import Kind


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """`results` says by handler: done, duplicate, pending, skipped or dead letter, with the reason code."""

    tenant: str
    kind: Kind | None
    """None when the delivery never became a redemption event."""
    redemption_id: str | None
    customer_id: str | None
    results: dict[str, str]
    notes: tuple[str, ...] = ()
    reason: str | None = None
    """Why there is no event: a Malformed's reason code, or the type that is ignored."""
