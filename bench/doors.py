"""The doors that a delivery can knock at: ours, the same server without the append, and a naive one."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from bench.cell import Command
from bench.commands import REDEMPTIONS, environment
from bench.events import DEAD_LETTERS
from bench.peers.environments import python_of

PATH = "/webhooks/voucherify"


class Door(NamedTuple):
    """One server, in a process of its own."""

    name: str
    prepare: Callable[[str, str, int], Awaitable[Command]]
    """Given bootstrap servers, topic and port."""


class Answered(msgspec.Struct, frozen=True):
    """One play of one door."""

    cell: str
    round: int
    rate: float
    """Requests answered a second."""
    p50: float
    """Milliseconds, as the two below."""
    p99: float
    p999: float
    errors: int
    """Answers other than the one expected, and broken connections."""


async def _ours(bootstrap: str, topic: str, port: int) -> Command:
    env = environment(bootstrap, topic, DEAD_LETTERS, ingress_port=port, log_level="warning")
    return Command([*REDEMPTIONS, "ingress"], env)


async def _without_append(bootstrap: str, topic: str, port: int) -> Command:
    env = environment(bootstrap, topic, DEAD_LETTERS)
    return Command([sys.executable, "-m", "bench.door_without_log", str(port)], env)


async def _naive(bootstrap: str, topic: str, port: int) -> Command:
    python = await asyncio.to_thread(python_of, "fastapi")
    return Command(
        [python, "-m", "bench.peers.with_fastapi", bootstrap, topic, str(port)],
        environment(bootstrap, topic, DEAD_LETTERS),
    )


OURS, WITHOUT_APPEND, NAIVE = "ours", "ours without the append", "FastAPI + aiokafka"
DOORS = (Door(OURS, _ours), Door(WITHOUT_APPEND, _without_append), Door(NAIVE, _naive))
