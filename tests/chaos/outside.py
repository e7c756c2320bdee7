"""An effect handler that calls the outside world: a file that remembers who called, when, and for what."""

import asyncio
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from events.event import Kind, RedemptionEvent
from handlers.protocol import Attempt, Retry

CALL_SECONDS = 0.03
"""Long enough for a crash to fall into."""


class Outside:
    """Writes a line for each call into a file of its process's own below OUTSIDE_CALLS."""

    name = "outside"
    kinds: Collection[Kind] = (Kind.SUCCEEDED, Kind.ROLLED_BACK)
    concurrency = 4
    timeout = 20.0
    retry = Retry(attempts=50, first=0.05)

    def wants(self, event: RedemptionEvent) -> bool:
        return True

    async def run(self, attempt: Attempt) -> None:
        with (Path(os.environ["OUTSIDE_CALLS"]) / str(os.getpid())).open("a") as calls:
            calls.write(f"{attempt.key}\t{time.monotonic()}\n")
        await asyncio.sleep(CALL_SECONDS)


class Call(NamedTuple):
    kind: str
    redemption: str
    at: float
    """Seconds of the machine's clock that never jumps."""


def calls(directory: Path) -> list[Call]:
    """Every call of every process."""
    found = []
    for file in directory.iterdir():
        for line in file.read_text().splitlines():
            key, at = line.split("\t")
            _, _, kind, redemption = key.split(":", 3)
            found.append(Call(kind, redemption, float(at)))
    return found
