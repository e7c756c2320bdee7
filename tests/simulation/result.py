"""What became of one schedule."""

import hashlib
from collections import Counter
from typing import Any, NamedTuple


class Result(NamedTuple):
    seed: int
    wrong: list[str]
    faults: Counter[str]
    records: int
    calls: int
    steps: int
    seconds: float
    """Simulated."""
    trace: list[tuple[Any, ...]]

    @property
    def digest(self) -> str:
        """The same for the same course of events."""
        return hashlib.sha256("\n".join(map(str, self.trace)).encode()).hexdigest()[:16]
