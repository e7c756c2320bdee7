"""What a worker holds in memory: beside a million effects that wait, and hour after hour."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from statistics import median

from aiokafka import AIOKafkaProducer

from bench.cell import Command, Stage
from bench.commands import REDEMPTIONS
from bench.events import HEADERS, Events, preload
from bench.growth import FRESH, OURS, STORE
from bench.log_channel import LogChannel
from bench.measuring import admin_of, running, stage_of
from bench.services import Services
from bench.tables import Tabled
from bench.usage import Usage
from bench.watching import CommittedOffsets, EffectsRun

BACKLOG = "Growth: memory beside effects that wait"
STEADY = "Growth: memory over time"
ARRIVALS = Events(0, 3)
CUSTOMERS = 1_000_000
LOOK_SECONDS = 1.0
TICK_SECONDS = 0.05
STALL_SECONDS = 60.0
WARM_SECONDS = 60.0
"""At most; a tenth of a shorter play."""


async def backlog_of(pending: int, services: Services, seconds: float) -> Tabled:
    """One row: a worker takes in so many events while its handler is paused; then the handler runs again.

    Raises RuntimeError when nothing gets done."""
    async with stage_of(STORE, FRESH, services) as stage, admin_of(services.kafka) as admin:
        command = await OURS.prepare(stage)
        await _handler("pause", command)
        offsets, run = CommittedOffsets(admin, stage.group), EffectsRun(stage.admin_port)
        async with _worker(command, stage) as look:
            await _watched(look, offsets.members, 1)
            growing = await _watched(look, offsets.done, 1)
            first, began = await offsets.done(), time.monotonic()
            growing += await _watched(look, offsets.done, pending)
            stored = (await offsets.done() - first) / (time.monotonic() - began)
            if await run.done():
                raise RuntimeError("a paused handler was called")
            await _handler("resume", command)
            draining = await _watched(look, run.done, 1)
            first, began = await run.done(), time.monotonic()
            draining += await _watched(look, run.done, pending, seconds)
            delivered = (await run.done() - first) / (time.monotonic() - began)
    return Tabled(
        BACKLOG,
        {
            "database": STORE,
            "pending": pending,
            "stored/s": round(stored),
            "RSS MiB while they come": _mib(max(growing)),
            "delivered/s": round(delivered),
            "RSS MiB while they go": _mib(max(draining)),
        },
    )


async def steady(minutes: float, rate: int, services: Services) -> Tabled:
    """One row: events at a given rate, the worker's memory each second.

    Raises RuntimeError when events stay undone."""
    await preload(services.kafka, ARRIVALS)
    events = Events(round(minutes * 60 * rate), CUSTOMERS)
    async with stage_of(STORE, ARRIVALS, services) as stage:
        command = await OURS.prepare(stage)
        run = EffectsRun(stage.admin_port)
        async with _worker(command, stage) as look:
            sending = asyncio.create_task(_send(services.kafka, events, rate))
            await _watched(look, run.done, 1)
            held = await _watched(look, run.done, events.number)
            await sending
    warm = held[round(min(WARM_SECONDS / LOOK_SECONDS, len(held) / 10)) :]
    tenth = max(1, len(warm) // 10)
    first, last = median(warm[:tenth]), median(warm[-tenth:])
    return Tabled(
        STEADY,
        {
            "database": STORE,
            "minutes": minutes,
            "events/s": rate,
            "events": events.number,
            "RSS MiB, first tenth": _mib(first),
            "last tenth": _mib(last),
            "grown": f"{last / first - 1:+.1%}",
            "most": _mib(max(held)),
        },
    )


@asynccontextmanager
async def _worker(command: Command, stage: Stage) -> AsyncIterator[Callable[[], int]]:
    """Yields what tells its resident bytes, and raises RuntimeError when it has ended."""
    log = stage.directory / "log"
    with running(command, log) as process:

        def look() -> int:
            if process.poll() is not None:
                raise RuntimeError(f"the worker ended by itself:\n{_last_words(log)}")
            return Usage.of(process.pid).rss_bytes

        yield look


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def _watched(
    look: Callable[[], int], progress: Callable[[], Awaitable[int]], goal: int, seconds: float = float("inf")
) -> list[int]:
    """Resident bytes, each second until the goal or the time is reached."""
    held, end = [look()], time.monotonic() + seconds
    done, moved = await progress(), time.monotonic()
    while done < goal and time.monotonic() < end:
        await asyncio.sleep(LOOK_SECONDS)
        held.append(look())
        before, done = done, await progress()
        if done > before:
            moved = time.monotonic()
        elif time.monotonic() > moved + STALL_SECONDS:
            raise RuntimeError(f"{done:,} of {goal:,} done, and no more in {STALL_SECONDS:.0f} s")
    return held


async def _handler(change: str, command: Command) -> None:
    arguments = [*REDEMPTIONS, "handlers", change, LogChannel.name]
    await asyncio.to_thread(
        subprocess.run, arguments, env=dict(command.environment), check=True, capture_output=True
    )


async def _send(bootstrap: str, events: Events, rate: int) -> None:
    """All of them, as many as are due at each tick."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="lz4", linger_ms=20)
    await producer.start()
    try:
        bodies, sent, began = events.bodies(), 0, time.monotonic()
        while sent < events.number:
            due = min(events.number, round((time.monotonic() - began) * rate))
            waiting = [
                await producer.send(ARRIVALS.topic, body, key, headers=HEADERS)
                for key, body in islice(bodies, due - sent)
            ]
            sent = due
            await asyncio.gather(*waiting)
            await asyncio.sleep(TICK_SECONDS)
    finally:
        await producer.stop()


def _mib(held: float) -> int:
    return round(held / 2**20)
