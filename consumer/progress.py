"""What the worker does and waits for: the truth behind /health/ready and /health/live."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from events.failures import Misconfigured, Unavailable
from events.runtime import Runtime

log = structlog.get_logger(__name__)

STUCK_SECONDS = 120.0
"""Longer than any bounded step: statements end after 45 s, fetches and revocations after 60 s."""


class Progress:
    """Ready: joined the group, nothing is being waited for. Live: every step that was begun gets somewhere.

    Waiting for a dependency that says it is away is no reason to be restarted; being stuck without a
    known reason is, even while the event loop turns.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._begun: dict[str, float] = {}
        self._stalled: dict[str, float] = {}
        self._troubles: dict[str, str] = {}
        self.joined = False

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A piece of work with an end. One that fails without a known outage has not ended: the next try
        goes on counting from its beginning."""
        self._begun.setdefault(name, self._runtime.monotonic())
        try:
            yield
        except (Unavailable, Misconfigured):
            self._begun.pop(name, None)
            raise
        self._begun.pop(name, None)

    def trouble(self, name: str, message: str) -> None:
        """Something is waited for: not ready until `clear`. Logged when it begins or changes."""
        if self._troubles.get(name) != message:
            log.warning("waiting", what=name, reason=message)
        self._troubles[name] = message

    def clear(self, name: str) -> None:
        if self._troubles.pop(name, None) is not None:
            log.info("recovered", what=name)

    def forget(self, name: str) -> None:
        """Nobody waits for this any more, whatever became of it."""
        self._begun.pop(name, None)
        self._troubles.pop(name, None)

    def waits_for(self, name: str) -> bool:
        return name in self._troubles

    def stalled(self, name: str) -> None:
        """Records are there for `name`, but none arrive."""
        self._stalled.setdefault(name, self._runtime.monotonic())

    def moved(self, name: str) -> None:
        self._stalled.pop(name, None)

    def ready(self) -> list[str]:
        """Why the worker is not ready; [] when it is."""
        reasons = [f"{name}: {message}" for name, message in self._troubles.items()]
        return reasons if self.joined else [*reasons, "consumer group: not joined yet"]

    def live(self) -> list[str]:
        """What is stuck; [] when all moves on."""
        now = self._runtime.monotonic()
        times = {**self._begun, **self._stalled}
        return [f"{name}: stuck" for name, since in times.items() if now - since > STUCK_SECONDS]
