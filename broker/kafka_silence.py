"""Owns the question how long Kafka has not answered a consumer: aiokafka tries on and says nothing."""

from events.runtime import Runtime


class Silence:
    """Seconds without an answer, counted only while somebody listens."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._answer = 0
        self._since = runtime.monotonic()
        self._listened_until = self._since

    @property
    def seconds(self) -> float:
        return self._runtime.monotonic() - self._since

    def begin(self) -> float:
        """Listen again; returns the time. A pause between two fetches, however long, was no silence."""
        now = self._runtime.monotonic()
        self._since += now - self._listened_until
        return now

    def pause(self) -> None:
        self._listened_until = self._runtime.monotonic()

    def end(self, answer: int | None = None) -> None:
        """Kafka was heard. `answer`: the time stamp of its latest answer, which counts only once."""
        if answer is None or answer != self._answer:
            self._answer = self._answer if answer is None else answer
            self._since = self._runtime.monotonic()
