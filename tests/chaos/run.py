"""One run: a load, faults drawn by a seed, and what came of it."""

import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.chaos.deployment import Deployment
from tests.chaos.faults import FAULTS, Fault, Toll
from tests.chaos.judgement import faults_found, unexplained
from tests.chaos.load import Load
from tests.chaos.outside import calls

BREATHER_SECONDS = 4.0
"""Between two faults, at most: some begin while the last one is still being repaired."""


class Result(NamedTuple):
    seed: int
    seconds: int
    wrong: list[str]
    faults: dict[str, int]
    figures: dict[str, Any]


def chaos(seed: int, seconds: float, directory: Path, faults: tuple[Fault, ...] = FAULTS) -> Result:
    """Hurt a deployment under load for so long, then judge it."""
    deployment = Deployment(directory)
    try:
        deployment.start()
        load = Load(seed, seconds, deployment.urls)
        night = Night(deployment, seed)
        load.start()
        try:
            night.hurt(seconds, faults)
        finally:
            load.finish()
        wrong = [*night.wrong, *faults_found(deployment, load, night.tolls)]
        return Result(seed, round(seconds), wrong, dict(night.names), _figures(deployment, load, night.tolls))
    finally:
        deployment.close()


class Night:
    """One fault after the other. Remembers what they were and what they may have cost."""

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self._deployment = deployment
        self._chance = Random(f"faults-{seed}")
        self.names = Counter[str]()
        self.tolls: list[Toll] = []
        self.wrong: list[str] = []

    def hurt(self, seconds: float, faults: tuple[Fault, ...]) -> None:
        """Until the time is up, or something does not come back: what was accepted is judged all the same."""
        began, left = time.monotonic(), list[Fault]()
        try:
            while (passed := time.monotonic() - began) < seconds:
                left = left or self._chance.sample(faults, len(faults))  # each once before any comes again
                self._suffer(left.pop(), passed)
            self._deployment.wait_ready()
        except AssertionError as broken:
            self.wrong.append(str(broken))

    def _suffer(self, fault: Fault, passed: float) -> None:
        name = fault.__name__.replace("_", " ")
        print(f"{passed:6.1f} s  {name}", flush=True)
        self.names[name] += 1
        self.tolls.append(fault(self._deployment, self._chance))
        if self._chance.random() < 0.7:
            self._deployment.wait_ready()
        time.sleep(self._chance.uniform(0, BREATHER_SECONDS))


def _figures(deployment: Deployment, load: Load, tolls: list[Toll]) -> dict[str, Any]:
    made = calls(deployment.calls)
    status = deployment.site.told("status")
    return {
        "accepted": len(load.sending.accepted),
        "requests": load.sending.tries.total(),
        "answers": {str(status or "none"): times for status, times in sorted(load.sending.answers.items())},
        **deployment.site.told("ledger", "totals"),
        "effects": status["effects"],
        "dead_letters": status["dead_letters"]["open"],
        "calls": len(made),
        "calls_repeated": unexplained(made, tolls),
        "repeats_explained": sum(toll.calls for toll in tolls),
    }
