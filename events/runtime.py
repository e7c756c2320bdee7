"""The one door to clock, randomness and threads, so that a simulator can stand in for the machine."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Runtime(Protocol):
    """What the core may know of the machine. Waiting goes through asyncio, whose loop has its own clock."""

    def now(self) -> float:
        """Wall clock: seconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for durations."""

    def random(self) -> float:
        """A number in [0, 1), for jitter."""

    def token(self) -> str:
        """A name nobody else has, such as that of a lease's owner."""

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work without holding up the loop."""


class SystemRuntime:
    """The real machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return random.random()

    def token(self) -> str:
        return secrets.token_hex(16)

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)
