"""When a dependency counts as away, and when as back: what its calls say, and nothing else."""

from collections.abc import Sequence
from enum import Enum, auto

from storage.breakers import Breaker

CALLS_IN_A_ROW = 10
SILENCE_MS = 30_000
"""A dependency that answered no call for so long is away; one that answered within it is there."""
PROBE_MS = 5_000
"""Between the end of a probe and the next one."""


class Call(Enum):
    """How a call to a dependency ended."""

    ANSWERED = auto()
    UNAVAILABLE = auto()
    NEITHER = auto()
    """The handler said no by itself, or failed by its own fault: nothing follows for the dependency."""


def after(breaker: Breaker, calls: Sequence[Call], now: int, *, probed: bool = False) -> Breaker:
    """What is known after these calls. `probed`: one of them was the probe."""
    for call in calls:
        match call:
            case Call.UNAVAILABLE:
                breaker = breaker._replace(
                    failures=breaker.failures + 1, failing_since=breaker.failing_since or now
                )
            case Call.ANSWERED:
                breaker = Breaker(breaker.dependency, answered_at=now)
    if breaker.is_open:
        return breaker._replace(probe_at=now + PROBE_MS) if probed else breaker
    return opened(breaker, now) if _is_away(breaker, now) else breaker


def _is_away(breaker: Breaker, now: int) -> bool:
    since = breaker.failing_since
    return breaker.failures >= CALLS_IN_A_ROW or (since is not None and now - since >= SILENCE_MS)


def opened(breaker: Breaker, now: int) -> Breaker:
    return breaker._replace(opened_at=now, probe_at=now + PROBE_MS)


def answers_others(breaker: Breaker, own: int, now: int) -> bool:
    """Whether the dependency answers other calls than those of one effect: the last `own` ones, which failed.

    Only then is the effect to blame, and may die of it.
    """
    lately = breaker.answered_at is not None and now - breaker.answered_at <= SILENCE_MS
    return not breaker.is_open and lately and breaker.failures <= own
