"""Whether one handler's calls may begin, as the last look at the database had it; tells when that changes."""

from collections.abc import Iterable, Mapping

import structlog

from consumer.breaker import CALLS_IN_A_ROW, Call
from consumer.metrics import WorkerMetrics
from storage.breakers import Signals

log = structlog.get_logger(__name__)


class Switches:
    def __init__(self, handler: str, metrics: WorkerMetrics) -> None:
        self._handler = handler
        self._metrics = metrics
        self._stopped = False
        self._open: frozenset[str] = frozenset()
        self._due: dict[str, int] = {}
        self._silent: dict[str, int] = {}
        """Calls in a row that got no answer, as far as they are not stored yet."""
        self.asked: set[str] = set()
        """Dependencies that calls were refused to since the last look: somebody would call them."""

    def is_open(self, dependency: str) -> bool:
        """Whether its breaker is, or is about to be."""
        return dependency in self._open or self.is_silent(dependency)

    def is_silent(self, dependency: str) -> bool:
        """Whether so many calls got no answer that the next look at the database will open its breaker, if it
        answers nobody else: a slow database must not let thousands more begin meanwhile."""
        return self._silent.get(dependency, 0) >= CALLS_IN_A_ROW

    def note(self, calls: Iterable[tuple[str, Call]]) -> None:
        """Calls that have ended, in order; nobody has stored them yet."""
        for dependency, how in calls:
            if how is Call.UNAVAILABLE:
                self._silent[dependency] = self._silent.get(dependency, 0) + 1
            elif how is Call.ANSWERED:
                self._silent.pop(dependency, None)

    def note_stored(self) -> None:
        """Those noted so far are."""
        self._silent.clear()

    def may_probe(self, dependency: str) -> bool:
        """Whether this worker may make the one call that finds out; to be made at once."""
        self.asked.add(dependency)
        return self._due.pop(dependency, None) is not None

    @property
    def all_on(self) -> bool:
        return not (self._stopped or self._open)

    def off(self, dependency: str) -> bool:
        return self._stopped or dependency in self._open

    def set(self, signals: Signals, due: Mapping[str, int]) -> None:
        """`due`: dependencies that this worker is to probe by whatever calls them next, and until when."""
        before = self._open
        self._due = {name: until for name, until in {**self._due, **due}.items() if until > signals.now}
        self.asked.clear()
        self._stopped = signals.stopped
        self._open = frozenset(name for name, breaker in signals.breakers.items() if breaker.is_open)
        for name in self._open - before:
            log.warning("breaker_open", dependency=name, seen_by=self._handler)
            self._metrics.breakers.labels(name).set(1)
        for name in before - self._open:
            log.info("breaker_closed", dependency=name, seen_by=self._handler)
            self._metrics.breakers.labels(name).set(0)
