"""Voucherify on loopback, and a client of it whose pauses are noted instead of waited."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from events.runtime import SystemRuntime
from reconcile.client import Account
from reconcile.client import Voucherify as Client
from reconcile.pace import Pace
from tests.reconcile.voucherify import APP_ID, APP_TOKEN, Voucherify, served


@dataclass
class Clock(SystemRuntime):
    """Moves when somebody waits."""

    time: float = 1_775_000_000.0
    waits: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def voucherify() -> Iterator[Voucherify]:
    with served() as voucherify:
        yield voucherify


@pytest.fixture
async def client(voucherify: Voucherify, clock: Clock) -> AsyncIterator[Client]:
    async with Client(Account(voucherify.url, APP_ID, APP_TOKEN), Pace(clock), clock.pause) as client:
        yield client
