"""How fast Voucherify may be asked: at most half of what its rate limit allows.

The limit is the whole account's: whoever passes it blocks the shop's own calls as well.
"""

from collections.abc import Mapping

from events.runtime import Runtime

UNTOLD_SECONDS = 60.0
"""How long a limit may take to be fresh again, where the answer does not say: most are by the minute."""
LONGEST_SECONDS = 3600.0
"""The longest period known, that of the sandbox."""


class Pace:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waits = 0
        self.seconds = 0.0
        """To wait before the next request."""

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take note of an answer's rate-limit headers; without any, nothing is waited for."""
        limit, remaining = _number(headers, "x-rate-limit-limit"), _number(headers, "x-rate-limit-remaining")
        if limit is None or remaining is None or remaining * 2 > limit:
            self._waits, self.seconds = 0, 0.0
            return
        # Each look costs a request. Of a limit by the hour, one a minute would use up the other half.
        untold = UNTOLD_SECONDS * 2 ** min(self._waits, 6)
        self._waits += 1
        self.seconds = min(self._until_fresh(headers) or untold, LONGEST_SECONDS)

    def refused(self, headers: Mapping[str, str]) -> float:
        """Seconds to wait after a 429."""
        asked = _number(headers, "retry-after")
        if asked is None:
            asked = self._until_fresh(headers)
        return min(UNTOLD_SECONDS if asked is None else asked, LONGEST_SECONDS)

    def _until_fresh(self, headers: Mapping[str, str]) -> float | None:
        """X-Rate-Limit-Retry is in Unix seconds; one that has passed tells nothing."""
        moment = _number(headers, "x-rate-limit-retry")
        left = 0.0 if moment is None else moment - self._runtime.now()
        return left if left > 0 else None


def _number(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(name, "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
