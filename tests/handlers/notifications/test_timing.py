"""Quiet hours on nights when clocks change, and on all others."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from handlers.notifications.timing import known_zone, seconds_of_quiet

BERLIN, NEW_YORK, LORD_HOWE = map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))


def quiet(hours: str, zone: ZoneInfo, at: str, fold: int = 0) -> timedelta:
    """How long it is still quiet, at that time by the clock on the wall."""
    moment = datetime.fromisoformat(at).replace(tzinfo=zone, fold=fold)
    return timedelta(seconds=seconds_of_quiet(hours, zone, moment.timestamp()))


@pytest.mark.parametrize(
    ("at", "hours", "waits"),
    [
        ("2026-07-01T20:59:59", "21:00-08:00", timedelta(0)),
        ("2026-07-01T21:00:00", "21:00-08:00", timedelta(hours=11)),
        ("2026-07-02T00:00:00", "21:00-08:00", timedelta(hours=8)),
        ("2026-07-02T07:59:59", "21:00-08:00", timedelta(seconds=1)),
        ("2026-07-02T08:00:00", "21:00-08:00", timedelta(0)),
        ("2026-07-01T12:30:00", "12:00-14:00", timedelta(minutes=90)),
        ("2026-07-01T14:00:00", "12:00-14:00", timedelta(0)),
    ],
)
def test_on_an_ordinary_day(at: str, hours: str, waits: timedelta) -> None:
    assert quiet(hours, BERLIN, at) == waits


@pytest.mark.parametrize(
    ("zone", "at", "waits"),
    [
        (BERLIN, "2026-03-28T23:00", timedelta(hours=8)),  # an hour is missing from this night
        (BERLIN, "2026-10-24T23:00", timedelta(hours=10)),  # this one has an hour twice
        (NEW_YORK, "2026-03-07T23:00", timedelta(hours=8)),
        (NEW_YORK, "2026-10-31T23:00", timedelta(hours=10)),
        (LORD_HOWE, "2026-10-03T23:00", timedelta(hours=8.5)),
    ],
)
def test_a_night_of_change_ends_by_the_clock_on_the_wall(zone: ZoneInfo, at: str, waits: timedelta) -> None:
    assert quiet("21:00-08:00", zone, at) == waits


def test_an_end_that_the_clock_skips_comes_as_much_later_as_it_was_put_forward() -> None:
    # 02:30 is not on the clock, which goes from 02:00 to 03:00: it is 03:30 by then.
    assert quiet("21:00-02:30", BERLIN, "2026-03-29T01:00") == timedelta(hours=1.5)
    assert quiet("21:00-02:30", BERLIN, "2026-03-29T03:00") == timedelta(0)


@pytest.mark.parametrize(
    ("at", "fold", "waits"),
    [
        ("2026-10-25T01:30", 0, timedelta(hours=1)),
        ("2026-10-25T02:40", 0, timedelta(0)),  # over the first time
        ("2026-10-25T02:10", 1, timedelta(minutes=20)),  # the clock went back into it
        ("2026-10-25T02:40", 1, timedelta(0)),
    ],
)
def test_an_end_that_the_clock_shows_twice(at: str, fold: int, waits: timedelta) -> None:
    assert quiet("21:00-02:30", BERLIN, at, fold) == waits


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu")])
@pytest.mark.parametrize("hours", ["21:00-08:00", "23:45-02:30", "02:15-02:45", "01:30-02:00"])
def test_whoever_waits_as_long_as_told_waits_no_more(zone: ZoneInfo, hours: str) -> None:
    begin = int(datetime(2026, 1, 1, tzinfo=zone).timestamp())
    for moment in range(begin, begin + 366 * 86_400, 3_300):  # at all minutes of an hour, sooner or later
        seconds = seconds_of_quiet(hours, zone, moment)
        assert 0 <= seconds <= 86_400
        assert seconds_of_quiet(hours, zone, moment + seconds) == 0


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "/etc/passwd", "Mars/Olympus", "a" * 5000, "\x00"])
def test_what_is_no_zone_is_none(name: str) -> None:
    assert known_zone(name) is None
