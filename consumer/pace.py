"""So many tries a second, evenly: a token bucket on the runtime's clock."""

from events.runtime import Runtime


class Pace:
    """Owns the tokens of one handler in this worker. `rate` None: as many as there are."""

    def __init__(self, rate: float | None, runtime: Runtime) -> None:
        self._rate = rate
        self._runtime = runtime
        self._most = 1.0 if rate is None else max(1.0, rate / 10)
        self._tokens = self._most
        self._filled = runtime.monotonic()

    @property
    def ready(self) -> float:
        """How many may begin now."""
        return float("inf") if self._rate is None else self._fill(self._rate)

    def take(self) -> bool:
        """Whether one more may begin now; if so, it counts."""
        if self._rate is None:
            return True
        if self._fill(self._rate) < 1.0:
            return False
        self._tokens -= 1.0
        return True

    @property
    def wait(self) -> float:
        """Seconds until the next may begin."""
        return 0.0 if self._rate is None else max(0.0, 1.0 - self._fill(self._rate)) / self._rate

    def _fill(self, rate: float) -> float:
        now = self._runtime.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * rate)
        self._filled = now
        return self._tokens
