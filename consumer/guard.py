"""The dead-letter guard: says when too many of a handler's last records died, and where that began.

Deaths that come together are rarely the records' fault. Nobody is helped by a topic that a bad deployment has
emptied into the dead letters.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from storage.handler_states import HandlerState

NOTHING: Mapping[int, Exception] = {}


class GuardLimits(NamedTuple):
    """What is too many; a 0 turns that rule off."""

    in_a_row: int = 20
    window: int = 50
    share: float = 0.5
    """Of the last `window` records."""


GUARDED = GuardLimits()
UNGUARDED = GuardLimits(in_a_row=0, window=0)


class Crossed(Exception):
    """Too many died. From the record at `index` on nothing is to be stored."""

    def __init__(self, handler: str, index: int, reason: str, error: Exception) -> None:
        super().__init__(reason)
        self.handler = handler
        self.index = index
        self.reason = reason
        self.error = error
        """Of what the last one died."""


class Tally:
    """How the last records of one handler fared, those of the batch in hand by their index."""

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self._recent: deque[int | None] = deque(maxlen=limits.window)
        """None: fine; EARLIER: died in a batch that is stored; else where in this batch it died."""
        self._deaths = 0
        self._in_a_row = 0
        self.first: int | None = None
        """Where in this batch the deaths began that no good record has ended yet."""

    def copy(self) -> Self:
        """For another batch: all there is was earlier."""
        copied = type(self)(self._limits)
        copied._recent.extend(None if each is None else EARLIER for each in self._recent)
        copied._deaths, copied._in_a_row = self._deaths, self._in_a_row
        return copied

    def good(self, count: int) -> None:
        for _ in range(min(count, self._limits.window)):
            self._push(None)
        if count:
            self._in_a_row, self.first = 0, None

    def died(self, index: int) -> tuple[int, str] | None:
        """Where it began and what is too many, or None."""
        self._push(index)
        self._in_a_row += 1
        self.first = index if self.first is None else self.first
        if 0 < self._limits.in_a_row <= self._in_a_row:
            return self.first, f"{self._in_a_row} in a row died"
        window = self._limits.window
        if window and len(self._recent) == window and self._deaths > self._limits.share * window:
            first = min(each for each in self._recent if each is not None and each != EARLIER)
            return first, f"{self._deaths} of the last {window} died"
        return None

    def _push(self, fate: int | None) -> None:
        if self._limits.window:
            full = len(self._recent) == self._limits.window
            self._deaths += (fate is not None) - (full and self._recent[0] is not None)
            self._recent.append(fate)


EARLIER = -1


class Trial:
    """One try at a batch, counted beforehand: nothing of it holds until the guard accepts it."""

    def __init__(
        self, limits: GuardLimits, tallies: Mapping[str, Tally], states: Mapping[str, HandlerState]
    ) -> None:
        self._limits = limits
        self._before = tallies
        self._allowed = {name: state.allowance for name, state in states.items() if state.allowance}
        self.tallies: dict[str, Tally] = {}
        self.spent: dict[str, int] = {}
        """Deaths that an operator has allowed, by handler."""

    def judge(self, handler: str, indices: Sequence[int], deaths: Mapping[int, Exception] = NOTHING) -> None:
        """Count the records at these indices of the batch, in order. Raises Crossed."""
        tally = self._tally(handler)
        if not deaths:
            tally.good(len(indices))
            return
        for index in indices:
            if index not in deaths:
                tally.good(1)
            elif self.spent.get(handler, 0) < self._allowed.get(handler, 0):
                self.spent[handler] = self.spent.get(handler, 0) + 1
            elif crossed := tally.died(index):
                raise Crossed(handler, *crossed, deaths[index])

    @property
    def unbroken(self) -> int | None:
        """Where the first of the runs begins that last up to the end of the batch."""
        return min((tally.first for tally in self.tallies.values() if tally.first is not None), default=None)

    def _tally(self, handler: str) -> Tally:
        if handler not in self.tallies:
            before = self._before.get(handler)
            self.tallies[handler] = before.copy() if before else Tally(self._limits)
        return self.tallies[handler]


def unguarded() -> Trial:
    """For whoever lets any number die."""
    return Trial(UNGUARDED, {}, {})


class Guard:
    """Owns what this worker has counted, from its start or the last word on a handler."""

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self._tallies: dict[str, Tally] = {}
        self._changes: dict[str, int] = {}

    def trial(self, states: Mapping[str, HandlerState]) -> Trial:
        """Begin a try at a batch, with the states as its transaction sees them."""
        for name, state in states.items():
            if self._changes.get(name) != state.changed_at:
                self._changes[name] = state.changed_at
                self._tallies.pop(name, None)
        return Trial(self._limits, self._tallies, states)

    def accept(self, trial: Trial) -> None:
        """The batch is committed."""
        self._tallies |= trial.tallies
