"""What an event's calls come to, all in all: one effect has one fate. Pure."""

from collections.abc import Iterable, Sequence

from events.failures import Away, Refused, Unavailable
from handlers.protocol import Deferred, Skipped

Fate = Skipped | Deferred | Exception | None
"""Of one call; None: accepted."""
PAUSE = 60.0
"""Seconds between the tries of a call that fails while another of the same event has to wait anyway."""


def conclude(fates: Sequence[Fate]) -> Skipped | Deferred | None:
    """Raises what the event as a whole fails by.

    What can still be delivered decides: a refusal is told once nothing else is left to do, and as long as one
    call waits for its time, or for its channel to be back, no other uses up the tries.
    """
    deferred = [fate for fate in fates if isinstance(fate, Deferred)]
    away = [fate for fate in fates if isinstance(fate, Away)]
    failed = [fate for fate in fates if isinstance(fate, Exception) and not isinstance(fate, Refused | Away)]
    refused = [fate for fate in fates if isinstance(fate, Refused)]
    if deferred or (away and failed):
        return _later(deferred, [*failed, *away])
    if away:
        raise away[0]
    if failed:
        raise _patient(failed)
    if refused:
        raise refused[0]
    skipped = [fate for fate in fates if isinstance(fate, Skipped)]
    if fates and len(skipped) == len(fates):
        return Skipped(", ".join(dict.fromkeys(fate.reason for fate in skipped)))
    return None


def _later(deferred: Sequence[Deferred], failed: Sequence[Exception]) -> Deferred:
    """When the first of them may go."""
    first = min(deferred, key=lambda fate: fate.seconds, default=None)
    if not failed:
        assert first is not None
        return first
    pause = max(PAUSE, _asked(failed))
    if first is None or pause < first.seconds:
        return Deferred(pause, getattr(failed[0], "reason", type(failed[0]).__name__))
    return first


def _patient(failed: Sequence[Exception]) -> Exception:
    """The worst of them, and not before all that asked for time have had it."""
    odd = next((fate for fate in failed if not isinstance(fate, Unavailable)), None)
    if odd is not None:
        return odd
    return max(failed, key=lambda fate: _asked([fate]))


def _asked(failed: Iterable[Exception]) -> float:
    return max((getattr(fate, "retry_after", None) or 0.0 for fate in failed), default=0.0)
