"""Whole runs: cells in turn, round after round, each figure kept as soon as it is there."""

from collections.abc import Sequence
from subprocess import SubprocessError

from bench.cell import Cell, Unprepared
from bench.doors import DOORS
from bench.events import Events, preload
from bench.ingress import KNOCKS, cell_of, knock_at
from bench.knocking import requests
from bench.latency import LATENCY, SHARES, STORES, latency_at
from bench.measuring import Limits, measure
from bench.peers.cells import CELLS as PEERS
from bench.results import ResultsFile
from bench.services import services
from bench.worker_cells import CELLS as OURS

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


async def run_latency(file: ResultsFile, seconds: float) -> None:
    with services() as served:
        for store in STORES:
            for share in SHARES:
                name = f"latency, {store}, {share:.0%}"
                if file.results.has_row(LATENCY, store, share):
                    continue
                try:
                    row = await latency_at(store, share, served, seconds)
                except FAULTS as reason:
                    _leave_out(file, name, reason)
                    continue
                file.results.tabled.append(row)
                file.results.left_out.pop(name, None)
                file.save()
                print(row.values, flush=True)


def _leave_out(file: ResultsFile, cell: str, reason: Exception) -> None:
    file.results.left_out[cell] = str(reason) or type(reason).__name__
    file.save()
    print(f"left out: {cell}: {reason}", flush=True)
