"""When a message may go: quiet hours in a person's zone, whatever its clocks do. Pure."""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


def seconds_of_quiet(hours: str, zone: ZoneInfo, now: float) -> float:
    """Seconds until the quiet hours (`21:00-08:00`) end; 0.0 outside them. `now`: seconds since 1970."""
    start, end = (time.fromisoformat(each) for each in hours.split("-"))
    here = datetime.fromtimestamp(now, zone)
    if not _within(here.time(), start, end):
        return 0.0
    ending = _next(here, end, zone)
    # By the clock on the wall, which was perhaps set meanwhile: what counts is the time that passes.
    return max(0.0, (ending.astimezone(UTC) - here.astimezone(UTC)).total_seconds())


def _within(now: time, start: time, end: time) -> bool:
    return start <= now < end if start < end else now >= start or now < end


def _next(here: datetime, end: time, zone: ZoneInfo) -> datetime:
    """When the clock next shows `end`; where it skips `end`, as much later as it is put forward."""
    for days in (0, 1):
        ending = datetime.combine(here.date() + timedelta(days=days), end, zone)
        # Back from UTC: a time that the clock skips becomes the one it jumps to.
        ending = ending.astimezone(UTC).astimezone(zone)
        if ending.astimezone(UTC) > here.astimezone(UTC):
            return ending
        later = ending.replace(fold=1)  # shown twice, and the first time is over
        if later.astimezone(UTC) > here.astimezone(UTC):
            return later
    return here


@lru_cache(maxsize=1024)
def known_zone(name: str) -> str | None:
    """The name if it is a time zone's, else None."""
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, LookupError):
        return None
