"""Moments and windows of time, in milliseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Window(NamedTuple):
    """From `start` to `end`."""

    start: int
    end: int

    def halves(self) -> tuple["Window", "Window"]:
        middle = (self.start + self.end) // 2
        return Window(self.start, middle), Window(middle, self.end)


def moment(text: str) -> int:
    """An ISO 8601 date or time, UTC unless it says otherwise. Raises ValueError."""
    when = datetime.fromisoformat(text)
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - EPOCH) // timedelta(milliseconds=1)


def iso(ms: int) -> str:
    when = EPOCH + timedelta(milliseconds=ms)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
