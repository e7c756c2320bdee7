"""Whether one handler's calls may begin, as the last look at the database had it; tells when that changes."""

import structlog

from consumer.metrics import WorkerMetrics
from storage.breakers import Signals

log = structlog.get_logger(__name__)


class Switches:
    def __init__(self, handler: str, metrics: WorkerMetrics) -> None:
        self._handler = handler
        self._metrics = metrics
        self._stopped = False
        self._open: frozenset[str] = frozenset()

    def off(self, dependency: str) -> bool:
        return self._stopped or dependency in self._open

    def set(self, signals: Signals) -> None:
        before = self._open
        self._stopped = signals.stopped
        self._open = frozenset(name for name, breaker in signals.breakers.items() if breaker.is_open)
        for name in self._open - before:
            log.warning("breaker_open", dependency=name, seen_by=self._handler)
            self._metrics.breakers.labels(name).set(1)
        for name in before - self._open:
            log.info("breaker_closed", dependency=name, seen_by=self._handler)
            self._metrics.breakers.labels(name).set(0)
