"""Owns the settings of the two topics, the same for every log that stands behind the protocols."""

from msgspec import Struct

RECORD_MARGIN = 64 * 1024
"""Bytes a record may hold beyond the body: key, headers, and what the log itself adds."""


class Topics(Struct, frozen=True, kw_only=True):
    """Which topics there are, and what each must be able to hold."""

    events: str = "redemptions.events"
    dead_letters: str = "redemptions.dead-letters"
    partitions: int = 12
    replication: int = -1
    """Copies of each partition; -1 leaves it to the broker."""
    retention: float = 30 * 24 * 3600
    """Seconds that the events are kept; of dead letters the database has the copy that counts."""
    max_body_bytes: int = 2 * 1024 * 1024

    @property
    def names(self) -> tuple[str, str]:
        return (self.events, self.dead_letters)

    @property
    def record_limit(self) -> int:
        """Bytes of the largest record, as producers check it and as `max.message.bytes` says it."""
        return self.max_body_bytes + RECORD_MARGIN

    @property
    def retention_ms(self) -> int:
        return int(self.retention * 1000)
