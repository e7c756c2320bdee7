"""How many requests may wait for the log: as many as it confirms in good time, few while it confirms none."""

from collections.abc import MutableMapping
from typing import Any

from events.runtime import Runtime

FEW = 16
"""May wait for a log that does not answer: one of them will be the first to hear from it again."""
PATIENCE = 1.0
"""Seconds. What waits longer stands in a line that is too long; the sender's own patience is ten of them."""
EAGER_SHARE = 7 / 8
"""Of the room that those may fill who send their next request as soon as they are answered."""
_WHOLE_SINCE = "whole_since"


class Gate:
    """Refusing late costs as much as accepting: the signature is checked, the body read, and the log may keep
    it although its sender is told to come again. So whether there is room is asked as soon as a request is
    whole, before anything else is done for it.

    The room follows the log: one more for each record that is confirmed in good time, half as many for a
    second in which one was late or failed. It is `at_once` at most.
    """

    def __init__(self, runtime: Runtime, at_once: int) -> None:
        self._clock = runtime.monotonic
        self._at_once = at_once
        self._most = at_once
        self._coming = 0  # whole, and not looked at yet
        self.waiting = 0
        """Requests that wait for the log."""
        self._log_fails = False
        self._moved = self._clock()  # when the log last confirmed a record, or had none to confirm
        self._halved = self._moved

    @property
    def room(self) -> int:
        """Requests that may wait for the log, those that do so included."""
        # One partition may be stuck while the others go on, so how long the first has waited does not count.
        silent = self._clock() - self._moved > PATIENCE
        return min(self._most, FEW) if silent and (self.waiting or self._log_fails) else self._most

    def is_shut(self, *, eager: bool = False) -> bool:
        """Whether a request is to be turned away. `eager`: its sender has only just been answered.

        A crowd of those takes each place as it becomes free, and one who comes now and then would find none.
        """
        if eager and self.waiting + self._coming >= max(1, int(self.room * EAGER_SHARE)):
            return True
        return self._coming >= self._at_once or self.waiting >= self.room

    def announce(self, state: MutableMapping[str, Any], ago: float = 0.0) -> None:
        """The request of this ASGI state has been whole since so many seconds ago; `look_at` will follow."""
        state[_WHOLE_SINCE] = self._clock() - ago
        self._coming += 1

    def look_at(self, state: MutableMapping[str, Any]) -> float:
        """Since when the request has been whole, by the monotonic clock; now, if nobody has announced it."""
        since: float | None = state.pop(_WHOLE_SINCE, None)
        if since is None:
            return self._clock()
        self._coming -= 1
        return since

    def enter(self) -> bool:
        """Whether this one may wait for the log; then `leave` must follow."""
        if self.waiting >= self.room:
            return False
        if not self.waiting and not self._log_fails:
            self._moved = self._clock()
        self.waiting += 1
        return True

    def leave(self) -> None:
        self.waiting -= 1

    def confirmed(self, since: float) -> None:
        """The log has a record that has waited since then."""
        self._moved = self._clock()
        self._log_fails = False
        if self._moved - since > PATIENCE:
            self._halve()
        else:
            self._most = min(self._at_once, self._most + 1)

    def failed(self) -> None:
        """The log did not take a record, or not in time."""
        self._log_fails = True
        self._halve()

    def _halve(self) -> None:
        # What waits now came in together: all of it tells of the same shortage.
        if self._clock() - self._halved > PATIENCE:
            self._halved = self._clock()
            self._most = max(min(FEW, self._at_once), min(self._most, self.waiting) // 2)
