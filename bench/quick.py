"""The regression check: ours by the raw loop of the same minutes, beside the ratios that were kept."""

import tempfile
from pathlib import Path
from statistics import median

from bench.cell import Measured
from bench.events import Events
from bench.measuring import Limits
from bench.results import DIRECTORY, ResultsFile, by_cell, ratios
from bench.runs import run_workers
from bench.worker_cells import CELLS, RAW_LOOP

KEPT = DIRECTORY / "quick.json"
EVENTS = Events(60_000, 20_000)
ROUNDS = 3
LIMITS = Limits(4.0)
ONE_PROCESS = [cell for cell in CELLS if cell.members == 1]
RATE_TOLERANCE = 0.30
"""A share of the raw loop's rate may be so much smaller than it was: rates on shared cores waver."""
CPU_TOLERANCE = 0.20
"""CPU time wavers less, and tells of the same."""


async def run(keep: bool) -> int:
    """0, or 1 when a cell has become slower. With `keep` the figures become those to compare with."""
    with tempfile.TemporaryDirectory() as place:
        file = ResultsFile(Path(place) / "now.json")
        await run_workers(file, EVENTS, ROUNDS, LIMITS, ONE_PROCESS)
    if keep:
        kept = ResultsFile(KEPT)
        kept.results = file.results
        kept.save()
        return 0
    faults = regressions(ResultsFile(KEPT).results.measured, file.results.measured)
    print("\n".join(faults) or "no cell has become slower")
    return 1 if faults else 0


def regressions(before: list[Measured], now: list[Measured]) -> list[str]:
    """A sentence for each cell that has become slower or dearer beyond the tolerance, or has no figures."""
    if not before:
        return ["nothing to compare with: run `python -m bench quick --keep` where the figures are good"]
    faults = []
    rates_before, rates_now = ratios(before, RAW_LOOP), ratios(now, RAW_LOOP)
    costs_before, costs_now = _costs(before), _costs(now)
    for cell, was in rates_before.items():
        if cell == RAW_LOOP:
            continue
        if cell not in rates_now:
            faults.append(f"{cell}: no figures")
            continue
        if rates_now[cell] < was * (1 - RATE_TOLERANCE):
            faults.append(f"{cell}: {rates_now[cell]:.3f} of the raw loop's rate, it was {was:.3f}")
        if costs_now[cell] > costs_before[cell] * (1 + CPU_TOLERANCE):
            faults.append(
                f"{cell}: {costs_now[cell]:.1f} times the raw loop's CPU, it was {costs_before[cell]:.1f}"
            )
    return faults


def _costs(measured: list[Measured]) -> dict[str, float]:
    """CPU of each cell and its database, by the raw loop's."""
    used = {
        cell: median(play.cpu["own"] + play.cpu.get("postgres", 0.0) for play in plays)
        for cell, plays in by_cell(measured).items()
    }
    return {cell: cost / used[RAW_LOOP] for cell, cost in used.items()} if RAW_LOOP in used else {}
