"""The load of a run, sent to both doors while faults happen; what the oracle is told of it."""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.end_to_end.processes import SECRET
from traffic.generator import traffic
from traffic.sending import Sending
from traffic.telling import Delivery

RATE = 30.0
"""Deliveries a second."""
PATIENCE = 180.0
"""Longer than any fault."""


class Accepted(NamedTuple):
    """A delivery in the words of the oracle."""

    delivery: Delivery

    @property
    def body(self) -> bytes:
        return self.delivery.body

    @property
    def meaning(self) -> Mapping[str, Any] | None:
        return self.delivery.telling and self.delivery.telling._asdict()

    @property
    def kind(self) -> str:
        return self.delivery.telling.kind if self.delivery.telling else ""

    @property
    def malformed(self) -> str | None:
        return self.delivery.malformed

    @property
    def refused(self) -> str | None:
        return self.delivery.refused


class Load:
    """Being sent from `start` to `finish`, in a thread of its own."""

    def __init__(self, seed: int, seconds: float, urls: Sequence[str]) -> None:
        self._deliveries = traffic(seed, int(seconds * RATE * 1.5) + 200).deliveries
        self.sending = Sending(urls, SECRET, rate=RATE, at_once=24, patience=PATIENCE)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._send, name="load")

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Begin no more, and return when all that was begun is accepted or given up."""
        with contextlib.suppress(RuntimeError):  # all of it was sent already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def begun(self) -> int:
        return len(self.sending.tries)

    def accepted(self) -> list[Accepted]:
        return [Accepted(self._deliveries[place]) for place in sorted(self.sending.accepted)]

    def tries(self) -> Counter[bytes]:
        """Requests by body."""
        tries = Counter[bytes]()
        for place, times in self.sending.tries.items():
            tries[self._deliveries[place].body] += times
        return tries

    def _send(self) -> None:
        bodies = (delivery.body for delivery in self._deliveries)
        try:
            self._loop.run_until_complete(self.sending.send(bodies, self._stop))
        finally:
            self._loop.close()
