"""From POST to committed ledger row, while other deliveries arrive at a share of what the path can take."""

import asyncio
import itertools
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.cell import Command, Store
from bench.commands import REDEMPTIONS, environment
from bench.events import DEAD_LETTERS, Events, preload
from bench.knocking import at_rate, opened, request_of
from bench.measuring import database, running
from bench.services import Services, free_port
from bench.tables import Tabled

LATENCY = "Latency from POST to ledger row"
STORES: tuple[Store, ...] = ("sqlite", "postgres")
SHARES = (0.1, 0.5, 0.8)
PROBES_A_SECOND = 10
LOOK_SECONDS = 0.002
ARRIVALS = Events(0, 2)
ALONE = 200
"""Appends and commits measured by themselves."""
FLOOD_SECONDS = 5.0
FLOOD_RATE = 20_000.0
"""More than any door answers."""
FLOOD_EVENTS = 25_000
"""Different ones in it, more than any door answers in those seconds: what comes twice has one row."""

Exists = Callable[[str], Awaitable[bool]]


async def latency_at(store: Store, share: float, services: Services, seconds: float) -> Tabled:
    """One row: p50 and p99 of the probes, beside one append plus one commit alone.

    Raises RuntimeError when a probe never arrives."""
    await preload(services.kafka, ARRIVALS)
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as place:
        async with database(store, services, Path(place)) as url, _path(url, services, Path(place)) as port:
            events = Events(FLOOD_EVENTS, 1_000).bodies()
            posts = [request_of(body) for _, body in events]
            async with _looking(url) as rows:
                capacity = await _capacity(port, posts, rows)
                probes, load = await asyncio.gather(
                    _probe(port, rows.exists, seconds), at_rate(port, posts, capacity * share, seconds)
                )
            alone = await _alone(services.kafka, url)
    probes.sort()
    p50, p99 = probes[len(probes) // 2], probes[int(len(probes) * 0.99)]
    return Tabled(
        LATENCY,
        {
            "database": store,
            "share of capacity": share,
            "capacity/s": round(capacity),
            "p50 ms": round(p50 * 1e3, 1),
            "p99 ms": round(p99 * 1e3, 1),
            "append + commit alone ms": round(alone * 1e3, 2),
            "p50 by that": round(p50 / alone, 1),
            "p99 by that": round(p99 / alone, 1),
            "probes": len(probes),
            "refused": load.errors,
        },
    )


@asynccontextmanager
async def _path(url: str, services: Services, directory: Path) -> AsyncIterator[int]:
    """An ingress and a worker; yields the port to knock at."""
    port = free_port()
    env = environment(
        services.kafka,
        ARRIVALS.topic,
        DEAD_LETTERS,
        database_url=url,
        data_dir=directory,
        ingress_port=port,
        consumer_group=directory.name,
        log_level="warning",
    )
    await asyncio.to_thread(
        subprocess.run, [*REDEMPTIONS, "db", "upgrade"], env=env, check=True, capture_output=True
    )
    ingress, worker = Command([*REDEMPTIONS, "ingress"], env), Command([*REDEMPTIONS, "worker"], env)
    with running(ingress, directory / "ingress.log"), running(worker, directory / "worker.log"):
        await opened(port)
        yield port


class _Rows:
    """Questions to the ledger, on a connection of our own."""

    def __init__(self, ask: Callable[[str], Awaitable[int]]) -> None:
        self._ask = ask

    async def exists(self, redemption: str) -> bool:
        return await self._ask(f"SELECT count(*) FROM facts WHERE redemption_id = '{redemption}'") > 0  # noqa: S608

    async def count(self) -> int:
        return await self._ask("SELECT count(*) FROM facts")


@asynccontextmanager
async def _looking(url: str) -> AsyncIterator[_Rows]:
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"))

        async def ask_file(sql: str) -> int:
            return int(file.execute(sql).fetchone()[0])

        try:
            yield _Rows(ask_file)
        finally:
            file.close()
    else:
        server = await asyncpg.connect(url)

        async def ask_server(sql: str) -> int:
            return int(await server.fetchval(sql))

        try:
            yield _Rows(ask_server)
        finally:
            await server.close()


async def _capacity(port: int, posts: list[bytes], rows: _Rows) -> float:
    """Deliveries a second that get from the door into the ledger while the door is flooded."""
    await _arrived(port, rows.exists)  # a worker that has not joined yet would count as a slow one
    before, begin = await rows.count(), time.monotonic()
    flood = asyncio.create_task(at_rate(port, posts, FLOOD_RATE, FLOOD_SECONDS))
    await asyncio.wait((flood,), timeout=FLOOD_SECONDS)
    arrived = max(1, await rows.count() - before)
    rate = arrived / (time.monotonic() - begin)
    await flood
    # What waits must not be in the way of what is measured next.
    await _arrived(port, rows.exists)
    return rate


async def _probe(port: int, exists: Exists, seconds: float) -> list[float]:
    """Seconds from POST to row, of deliveries sent one after the other, beside all the others."""
    taken, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        taken.append(await _arrived(port, exists))
        await asyncio.sleep(1 / PROBES_A_SECOND)
    return taken


_numbers = itertools.count(1)
_probes = Events(10**6, 1_000).bodies()


async def _arrived(port: int, exists: Exists) -> float:
    """Send one delivery with an id of its own; seconds until its row is there."""
    redemption = f"r_probe{next(_numbers)}of{free_port()}"
    _, body = next(_probes)
    old = body.partition(b'"redemption":{"id":"')[2].partition(b'"')[0]
    post = request_of(body.replace(old, redemption.encode()))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begin = time.monotonic()
    writer.write(post)
    await reader.readuntil(b"\r\n\r\n")
    try:
        while not await exists(redemption):
            if time.monotonic() > begin + 60:
                raise RuntimeError("a delivery did not reach the ledger within a minute")
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic() - begin
    finally:
        writer.close()


async def _alone(bootstrap: str, url: str) -> float:
    """Seconds of one append plus one commit, medians, with nothing else going on."""
    appends, commits = [], []
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        for _, body in itertools.islice(Events(ALONE, 10).bodies(), ALONE):
            begin = time.monotonic()
            await producer.send_and_wait(ARRIVALS.topic, body)
            appends.append(time.monotonic() - begin)
    async for seconds in _commits(url):
        commits.append(seconds)
    return sorted(appends)[ALONE // 2] + sorted(commits)[ALONE // 2]


async def _commits(url: str) -> AsyncIterator[float]:
    insert = "INSERT INTO alone VALUES (1)"
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        file.execute("PRAGMA synchronous = FULL")
        file.execute("CREATE TABLE alone (a int)")
        for _ in range(ALONE):
            begin = time.monotonic()
            file.execute(insert)
            yield time.monotonic() - begin
        file.close()
        return
    server = await asyncpg.connect(url)
    await server.execute("CREATE TABLE alone (a int)")
    for _ in range(ALONE):
        begin = time.monotonic()
        await server.execute(insert)
        yield time.monotonic() - begin
    await server.close()
