"""One run's figures, in a file written after each of them: a run that was stopped goes on from there."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import msgspec

from bench.cell import Measured
from bench.doors import Answered
from bench.peers.environments import versions as peers_versions
from bench.tables import Tabled
from bench.usage import MEMORY

DIRECTORY = Path(__file__).parent / "results"
OURS = ("aiokafka", "asyncpg", "msgspec", "sqlalchemy", "uvicorn", "uvloop")


class Results(msgspec.Struct):
    machine: dict[str, Any]
    versions: dict[str, str]
    measured: list[Measured] = []
    """Plays of worker cells."""
    answered: list[Answered] = []
    """Plays of ingress cells."""
    tabled: list[Tabled] = []
    """Rows of the other sections."""
    left_out: dict[str, str] = {}
    """Cells without figures, and why."""

    def has(self, cell: str, number: int) -> bool:
        return (cell, number) in {
            *((each.cell, each.round) for each in self.measured),
            *((each.cell, each.round) for each in self.answered),
        }

    def has_row(self, section: str, *first: object) -> bool:
        """Whether a row of a section begins with these values."""
        return any(
            each.section == section and tuple(each.values.values())[: len(first)] == first
            for each in self.tabled
        )


class ResultsFile:
    """Owns one file of results."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            self.results = msgspec.json.decode(path.read_bytes(), type=Results)
        else:
            self.results = Results(machine(), versions())

    def save(self) -> None:
        """In one step: a run that is killed leaves the old file or the new one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(self.results), indent=1) + b"\n")
        partial.rename(self._path)


def ratios(measured: Iterable[Measured], yardstick: str) -> dict[str, float]:
    """Each cell's rate by the yardstick's of the same round; of these the median. Rounds without a yardstick
    count for nothing."""
    plays = list(measured)
    yards = {each.round: each.rate for each in plays if each.cell == yardstick}
    by_cell: dict[str, list[float]] = {}
    for each in plays:
        if each.round in yards:
            by_cell.setdefault(each.cell, []).append(each.rate / yards[each.round])
    return {cell: median(found) for cell, found in by_cell.items()}


P = TypeVar("P", Measured, Answered)


def by_cell(plays: Iterable[P]) -> dict[str, list[P]]:
    found: dict[str, list[P]] = {}
    for each in plays:
        found.setdefault(each.cell, []).append(each)
    return found


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(MEMORY / 2**30),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    ours = {name: version(name) for name in OURS}
    return {"python": platform.python_version(), "kafka": "4.1.0"} | ours | peers_versions()
