"""What a growing store costs: throughput beside millions of redemptions, claims beside millions that wait."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import asyncpg

from bench.cell import Measured, Stage, Store
from bench.effects import CLAIMED, CLAIMS, claim_seconds
from bench.events import Events
from bench.filling import fill
from bench.measuring import Limits, database, measure, play, stage_of
from bench.services import Services
from bench.tables import Tabled
from bench.worker_cells import CELLS, RAW_LOOP
from events.runtime import SystemRuntime
from storage.connect import connect
from storage.schema import State
from storage.upgrade import upgrade

STORE: Store = "postgres"
THROUGHPUT = "Growth: throughput beside what is stored"
CLAIMING = "Growth: claims beside effects that wait"
FRESH = Events(1_000_000, 1_000_000)
"""More than are played beside one size, each new to its store."""
BASE_SECONDS = 5.0
"""Of the play whose redemptions are multiplied: some 20,000. They are all that a store of 0 has."""
WARM_SECONDS = 90.0
"""Of a play that is not measured. Right behind a checkpoint PostgreSQL logs nearly every page that it touches
as a whole; with fifteen minutes from one to the next, that is not how a server spends its life."""
EACH = 2
"""Redemptions of a customer in a filled store. Of two million and more, most fresh events are of customers
that it knows."""
OF_THE_RAW_LOOP = "of the raw loop"
WITHOUT_INDEXES = {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"}
"""A count that read an index would drive out what the worker has in the server's memory."""
RAW = next(cell for cell in CELLS if cell.name == RAW_LOOP)
OURS = next(cell for cell in CELLS if cell.store == STORE and cell.counted == "effects")
"""Ledger and log channel, as deployed, in one process."""


class Held(NamedTuple):
    """What a store holds, and what it has written."""

    redemptions: int
    pending: int
    """Effects that the play before left to be run."""
    gib: float
    wal: int
    """Bytes, since the server began."""


async def growth_at(
    redemptions: int, services: Services, rounds: int, limits: Limits, empty: float | None
) -> Tabled:
    """One row: the worker on fresh events beside about so many that are stored, in turn with the raw loop.

    `empty`: what the empty store had of the raw loop's rate, where that is known. Raises as `play` does."""
    ours = OURS._replace(stored="")  # counted once, after all rounds: to count millions takes its time
    async with stage_of(STORE, FRESH, services) as stage:
        await ours.prepare(stage)
        await _fill(stage, services, redemptions)
        before, raws, plays = await _held(stage.database_url), [], []
        for number in range(1, rounds + 1):
            raws.append(await measure(RAW, number, FRESH, services, limits))
            plays.append(await play(ours, number, stage, services, limits))
        after = await _held(stage.database_url)
    stored = after.redemptions - before.redemptions + before.pending - after.pending
    if stored < (done := sum(each.events for each in plays)):
        raise RuntimeError(f"{OURS.name} did {done} events and stored {stored}")
    return _row(redemptions, before, after, raws, plays, empty)


async def _fill(stage: Stage, services: Services, redemptions: int) -> None:
    # Also where nothing is to be copied: each size begins behind a checkpoint and with statistics.
    await play(OURS, 0, stage, services, Limits(BASE_SECONDS))
    began = time.monotonic()
    copied = await fill(stage.database_url, redemptions, redemptions // EACH)
    print(f"{copied:,} redemptions copied in {time.monotonic() - began:,.0f} s", flush=True)
    if copied:
        await play(OURS, 0, stage, services, Limits(WARM_SECONDS))


def _row(
    redemptions: int,
    before: Held,
    after: Held,
    raws: Sequence[Measured],
    plays: Sequence[Measured],
    empty: float | None,
) -> Tabled:
    ratio = median(mine.rate / raw.rate for mine, raw in zip(plays, raws, strict=True))
    if not redemptions:
        empty = ratio
    written = (after.wal - before.wal) / (after.redemptions - before.redemptions)
    return Tabled(
        THROUGHPUT,
        {
            "database": STORE,
            "redemptions": redemptions,
            "stored": before.redemptions,
            "GiB": round(before.gib, 1),
            "events/s": round(median(each.rate for each in plays)),
            OF_THE_RAW_LOOP: round(ratio, 3),
            "of the empty store's": round(ratio / empty, 2) if empty else "",
            "CPU ms per 1,000: own": round(median(each.cpu["own"] for each in plays), 1),
            "PostgreSQL": round(median(each.cpu.get("postgres", 0.0) for each in plays), 1),
            "WAL KiB an event": round(written / 2**10, 1),
            "RSS MiB": round(max(each.rss_mib for each in plays)),
            "rounds": len(plays),
        },
    )


async def _held(url: str) -> Held:
    session = await asyncpg.connect(url, server_settings=WITHOUT_INDEXES)
    try:
        return Held(
            await session.fetchval("SELECT count(*) FROM facts"),
            await session.fetchval(f"SELECT count(*) FROM effects WHERE state = {State.PENDING}"),  # noqa: S608 - a number
            await session.fetchval("SELECT pg_database_size(current_database())") / 2**30,
            int(await session.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")),
        )
    finally:
        await session.close()


async def claims_at(pending: int, services: Services) -> Tabled:
    """One row: what it takes to claim some of those that wait, beside so many more."""
    with tempfile.TemporaryDirectory() as place:
        async with database(STORE, services, Path(place)) as url:
            store = connect(url, SystemRuntime())
            try:
                await upgrade(store)
                seconds = await claim_seconds(store, done=0, pending=CLAIMED * CLAIMS + pending)
            finally:
                await store.close()
    return Tabled(
        CLAIMING,
        {"database": STORE, "pending": pending, f"ms for {CLAIMED}": round(seconds * 1e3, 1)},
    )
