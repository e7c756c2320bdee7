"""Plays a cell: starts its processes, watches what they get done, ends them, checks what they left."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from bench.cell import Cell, Command, Measured, Stage, Store
from bench.events import Events
from bench.services import ROOT, Services, free_port, own_database
from bench.usage import Usage
from bench.watching import CommittedOffsets, EffectsRun, Progress

START_SECONDS = 90.0
STOP_SECONDS = 30.0


class Limits(NamedTuple):
    seconds: float = 20.0
    """A cell ends then, or when its events do."""


class Look(NamedTuple):
    at: float
    done: int
    cpu: dict[str, float]


async def measure(cell: Cell, number: int, events: Events, services: Services, limits: Limits) -> Measured:
    """Round `number` of a cell, with everything its own. Raises as `play` does."""
    async with stage_of(cell.store, events, services) as stage:
        return await play(cell, number, stage, services, limits)


@asynccontextmanager
async def stage_of(store: Store, events: Events, services: Services) -> AsyncIterator[Stage]:
    """With an empty database and a group that has read nothing; all gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="bench-cell-"))
    try:
        async with database(store, services, directory) as url:
            group = f"bench-{uuid.uuid4().hex[:12]}"
            yield Stage(services.kafka, events, group, directory, url, free_port())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def play(cell: Cell, number: int, stage: Stage, services: Services, limits: Limits) -> Measured:
    """From where the stage's group is. Raises Unprepared, or RuntimeError when the cell fails or leaves too
    little."""
    command = await cell.prepare(stage)
    async with admin_of(services.kafka) as admin:
        offsets = CommittedOffsets(admin, stage.group)
        with running(command, stage.directory / "log") as process:
            measured = await _Play(cell, stage, services, process, offsets).measured(number, limits)
        committed = await offsets.done()
    stored = await _stored(cell, stage.database_url)
    if stored is not None and stored < committed:
        raise RuntimeError(f"{cell.name} committed {committed} events and stored {stored}")
    return measured


class _Play:
    """One play, from the start of its processes to the last look."""

    def __init__(
        self,
        cell: Cell,
        stage: Stage,
        services: Services,
        process: "subprocess.Popen[bytes]",
        offsets: CommittedOffsets,
    ) -> None:
        self._cell = cell
        self._stage = stage
        self._services = services
        self._process = process
        self._offsets = offsets
        self._progress: Progress = EffectsRun(stage.admin_port) if cell.counted == "effects" else offsets
        self._rss = 0

    async def measured(self, number: int, limits: Limits) -> Measured:
        begin = await self._begin()
        end = await self._end(begin, limits.seconds)
        events, seconds = end.done - begin.done, end.at - begin.at
        if events <= 0:
            raise RuntimeError(f"{self._cell.name} did nothing in the time measured{self._told()}")
        return Measured(
            cell=self._cell.name,
            round=number,
            events=events,
            seconds=round(seconds, 3),
            rate=round(events / seconds, 1),
            cpu={name: round((end.cpu[name] - begin.cpu[name]) * 1e6 / events, 2) for name in end.cpu},
            rss_mib=round(self._rss / 2**20, 1),
        )

    async def _begin(self) -> Look:
        """The first batch done after everybody has joined and is warm."""
        deadline = time.monotonic() + START_SECONDS
        while await self._offsets.members() < self._cell.members:
            await self._step(deadline)
        before = await self._progress.done()
        while (first := await self._look()).done <= before:
            await self._step(deadline)
        if not self._cell.warm_up:
            return first
        await asyncio.sleep(self._cell.warm_up)
        warm = await self._look()
        while (look := await self._look()).done == warm.done:
            await self._step(deadline + self._cell.warm_up)
        return look

    async def _end(self, begin: Look, seconds: float) -> Look:
        """The last batch seen done within the time; one at least, however slow the machine."""
        last = begin
        while last.done < self._stage.events.number:
            await self._step(begin.at + seconds + START_SECONDS)
            look = await self._look()
            if look.at > begin.at + seconds and last is not begin:
                break
            if look.done > last.done:
                last = look
        return last

    async def _step(self, deadline: float) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self._cell.name} ended by itself{self._told()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{self._cell.name} got nothing done{self._told()}")
        await asyncio.sleep(self._progress.every)

    async def _look(self) -> Look:
        usage = Usage.of(self._process.pid)
        self._rss = max(self._rss, usage.rss_bytes)
        done = await self._progress.done()
        return Look(time.monotonic(), done, {"own": usage.cpu_seconds} | self._services.cpu_seconds())

    def _told(self) -> str:
        return ":\n" + (self._stage.directory / "log").read_text(errors="replace")[-2000:]


@contextmanager
def running(command: Command, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """In a process group of its own, so that whatever it starts ends with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.arguments,
            env=dict(command.environment),
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@asynccontextmanager
async def admin_of(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def database(store: Store, services: Services, directory: Path) -> AsyncIterator[str]:
    """URL of an empty one, gone at the end; an empty text for those who need none."""
    if store == "postgres":
        async with own_database(services.postgres, f"bench_{uuid.uuid4().hex[:12]}") as url:
            yield url
    else:
        yield f"sqlite:///{directory / 'store.db'}" if store == "sqlite" else ""


async def _stored(cell: Cell, url: str) -> int | None:
    if not cell.stored:
        return None
    if cell.store == "sqlite":
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return int(connection.execute(cell.stored).fetchone()[0])
        finally:
            connection.close()
    postgres = await asyncpg.connect(url)
    try:
        return int(await postgres.fetchval(cell.stored))
    finally:
        await postgres.close()
