"""Plays a door: starts it, knocks, ends it."""

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench.doors import DOORS, Answered, Door
from bench.events import Events, preload
from bench.knocking import Answers, at_full_speed, at_rate, opened
from bench.measuring import running
from bench.services import Services, free_port

ARRIVALS = Events(0, 1)
"""The topic that is written to; nothing is to be in it when a play begins, so it is made anew."""
WARM_SECONDS = 2.0
"""Of a door that has just been started."""
BROKER_SECONDS = 20.0
"""Of a broker that has just been started: its code is compiled by and by, and once it has served for a while
a request costs it a fifth of what the first ones do."""
BROKER_RATE = 3_000.0

Knock = Callable[[int, Sequence[bytes], float, Path], Awaitable[Answers]]


def fixed(rate: float) -> Knock:
    async def knock(port: int, posts: Sequence[bytes], seconds: float, _: Path) -> Answers:
        return await at_rate(port, posts, rate, seconds)

    return knock


KNOCKS: dict[str, Knock] = {
    "64 connections": at_full_speed,
    "500 a second": fixed(500),
    "1,500 a second": fixed(1_500),
}


async def warm_up(services: Services, posts: Sequence[bytes]) -> None:
    """Knock at our door, and forget the answers."""
    await preload(services.kafka, ARRIVALS)
    with tempfile.TemporaryDirectory(prefix="bench-warm-") as place:
        port = free_port()
        command = await DOORS[0].prepare(services.kafka, ARRIVALS.topic, port)
        with running(command, Path(place) / "log"):
            await opened(port)
            await at_rate(port, posts, BROKER_RATE, BROKER_SECONDS)


async def knock_at(
    door: Door, load: str, number: int, posts: Sequence[bytes], services: Services, seconds: float
) -> Answered:
    """Round `number` of a door under a load. Raises Unprepared, TimeoutError."""
    await preload(services.kafka, ARRIVALS)
    with tempfile.TemporaryDirectory(prefix="bench-door-") as place:
        directory, port = Path(place), free_port()
        command = await door.prepare(services.kafka, ARRIVALS.topic, port)
        with running(command, directory / "log"):
            await opened(port)
            await at_rate(port, posts, 200, WARM_SECONDS)
            answers = await KNOCKS[load](port, posts, seconds, directory)
    p50, p99, p999 = (round(each, 3) for each in answers.milliseconds)
    return Answered(cell_of(door, load), number, round(answers.rate, 1), p50, p99, p999, answers.errors)


def cell_of(door: Door, load: str) -> str:
    return f"{door.name}, {load}"
