"""Whole runs: cells in turn, round after round, each figure kept as soon as it is there."""

from collections.abc import Coroutine, Sequence
from itertools import product
from subprocess import SubprocessError
from typing import Any, NamedTuple

from bench.cell import Cell, Unprepared
from bench.climbing import CLIMB, climb
from bench.doors import DOORS, WITHOUT_APPEND
from bench.effects import (
    CLAIMED_BESIDE,
    CONCURRENCIES,
    DONE,
    HANDLERS,
    KEYS,
    MILLISECONDS,
    RECORDS,
    STORED_BESIDE,
    WAITING,
    at_speed,
    by_keys,
    claim_beside,
    intake_beside,
)
from bench.events import Events, preload
from bench.growth import CLAIMING, FRESH, OF_THE_RAW_LOOP, STORE, THROUGHPUT, claims_at, growth_at
from bench.holding import BACKLOG, STEADY, backlog_of, steady
from bench.ingress import KNOCKS, cell_of, knock_at, warm_up
from bench.knocking import requests
from bench.latency import LATENCY, SHARES, STORES, latency_at
from bench.measuring import Limits, measure
from bench.peers.cells import CELLS as PEERS
from bench.results import ResultsFile
from bench.services import services
from bench.tables import Tabled
from bench.worker_cells import CELLS as OURS
from cli.tuning import tune_interpreter

FAULTS = (Unprepared, RuntimeError, OSError, EOFError, SubprocessError)
"""What leaves out one play: the others go on."""


def chosen(only: Sequence[str]) -> list[Cell]:
    """The worker cells with one of these in their name; all for none."""
    return [cell for cell in (*OURS, *PEERS) if not only or any(part in cell.name for part in only)]


async def run_workers(
    file: ResultsFile, events: Events, rounds: int, limits: Limits, cells: Sequence[Cell]
) -> None:
    """In turn: whatever slows the machine for a while slows all cells alike."""
    with services() as served:
        await preload(served.kafka, events)
        for number in range(1, rounds + 1):
            for cell in cells:
                if file.results.has(cell.name, number):
                    continue
                try:
                    measured = await measure(cell, number, events, served, limits)
                except FAULTS as reason:
                    _leave_out(file, cell.name, reason)
                    continue
                file.results.measured.append(measured)
                file.results.left_out.pop(cell.name, None)
                file.save()
                print(
                    f"round {number}: {cell.name}: {measured.rate:,.0f} events/s, {measured.cpu}", flush=True
                )


async def run_ingress(file: ResultsFile, rounds: int, seconds: float, only: Sequence[str] = ()) -> None:
    posts = requests(Events(5_000, 1_000))
    plays = [(door, load) for load in KNOCKS for door in DOORS]
    with services() as served:
        await warm_up(served, posts)
        for number in range(1, rounds + 1):
            for door, load in plays:
                name = cell_of(door, load)
                if file.results.has(name, number) or (only and not any(part in name for part in only)):
                    continue
                try:
                    answered = await knock_at(door, load, number, posts, served, seconds)
                except FAULTS as reason:
                    _leave_out(file, name, reason)
                    continue
                file.results.answered.append(answered)
                file.results.left_out.pop(name, None)
                file.save()
                print(f"round {number}: {name}: {answered.rate:,.0f}/s, p99 {answered.p99} ms", flush=True)


async def run_climb(file: ResultsFile, rounds: int, seconds: float) -> None:
    posts = requests(Events(5_000, 1_000))
    with services() as served:
        await warm_up(served, posts)
        for number in range(1, rounds + 1):
            for door in (door for door in DOORS if door.name != WITHOUT_APPEND):
                row = climb(door, number, posts, served, seconds)
                await _tabled(file, f"climb, {door.name}, {number}", CLIMB, (door.name, number), row)


async def run_effects(file: ResultsFile) -> None:
    tune_interpreter()  # as a worker does
    with services() as served:
        for store in STORES:
            for ms, at_once in product(MILLISECONDS, CONCURRENCIES):
                row = at_speed(store, ms, at_once, served)
                await _tabled(
                    file, f"{ms} ms, {at_once} at once, {store}", HANDLERS, (store, ms, at_once), row
                )
            for keys in KEYS:
                row = by_keys(store, keys, served)
                await _tabled(file, f"{keys} keys, {store}", RECORDS, (store, keys), row)
            for waiting in WAITING:
                row = intake_beside(store, waiting, served)
                await _tabled(file, f"beside {waiting}, {store}", STORED_BESIDE, (store, waiting), row)
            for done in DONE:
                row = claim_beside(store, done, served)
                await _tabled(file, f"claim beside {done}, {store}", CLAIMED_BESIDE, (store, done), row)


async def run_latency(file: ResultsFile, seconds: float) -> None:
    with services() as served:
        await warm_up(served, requests(Events(5_000, 1_000)))
        for store in STORES:
            for share in SHARES:
                name, row = f"latency, {store}, {share:.0%}", latency_at(store, share, served, seconds)
                await _tabled(file, name, LATENCY, (store, share), row)


async def run_growth(
    file: ResultsFile, redemptions: Sequence[int], pending: Sequence[int], rounds: int, seconds: float
) -> None:
    """`pending`: effects beside which others are claimed."""
    limits = Limits(seconds)
    with services() as served:
        await preload(served.kafka, FRESH)
        for stored in redemptions:
            row = growth_at(stored, served, rounds, limits, _empty_ratio(file))
            await _tabled(file, f"growth, {stored:,} redemptions", THROUGHPUT, (STORE, stored), row)
        for waiting in pending:
            row = claims_at(waiting, served)
            await _tabled(file, f"claims, {waiting:,} pending", CLAIMING, (STORE, waiting), row)


class Held(NamedTuple):
    """Beside what memory is watched; what is 0 is not played."""

    backlog: int
    """Effects that wait."""
    minutes: float
    """Of a steady play, at this rate:"""
    rate: int


async def run_memory(file: ResultsFile, held: Held, seconds: float) -> None:
    with services() as served:
        await preload(served.kafka, FRESH)
        if held.backlog:
            name, row = f"memory, {held.backlog:,} pending", backlog_of(held.backlog, served, seconds)
            await _tabled(file, name, BACKLOG, (STORE, held.backlog), row)
        if minutes := held.minutes:
            row = steady(minutes, held.rate, served)
            await _tabled(file, f"memory, {minutes:g} minutes", STEADY, (STORE, minutes, held.rate), row)


def _empty_ratio(file: ResultsFile) -> float | None:
    for row in file.results.tabled:
        if row.section == THROUGHPUT and row.values["redemptions"] == 0:
            return float(row.values[OF_THE_RAW_LOOP])
    return None


async def _tabled(
    file: ResultsFile, name: str, section: str, first: tuple[object, ...], row: Coroutine[Any, Any, Tabled]
) -> None:
    """Play a row, unless the file has one that begins like it."""
    if file.results.has_row(section, *first):
        row.close()
        return
    try:
        played = await row
    except FAULTS as reason:
        _leave_out(file, name, reason)
        return
    file.results.tabled.append(played)
    file.results.left_out.pop(name, None)
    file.save()
    print(played.values, flush=True)


def _leave_out(file: ResultsFile, cell: str, reason: Exception) -> None:
    file.results.left_out[cell] = str(reason) or type(reason).__name__
    file.save()
    print(f"left out: {cell}: {reason}", flush=True)
