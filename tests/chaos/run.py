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
        load.start()
        try:
            names, tolls = _hurt(deployment, seed, seconds, faults)
        finally:
            load.finish()
        wrong = [*faults_found(deployment, load, tolls), *_ended_by_themselves(deployment)]
        return Result(seed, round(seconds), wrong, dict(names), _figures(deployment, load, tolls))
    finally:
        deployment.close()


def _hurt(
    deployment: Deployment, seed: int, seconds: float, faults: tuple[Fault, ...]
) -> tuple[Counter[str], list[Toll]]:
    chance, names, tolls = Random(f"faults-{seed}"), Counter[str](), list[Toll]()
    began, left = time.monotonic(), list[Fault]()
    while time.monotonic() - began < seconds:
        left = left or chance.sample(faults, len(faults))  # each once before any comes again
        fault = left.pop()
        name = fault.__name__.replace("_", " ")
        print(f"{time.monotonic() - began:6.1f} s  {name}", flush=True)
        tolls.append(fault(deployment, chance))
        names[name] += 1
        if chance.random() < 0.7:
            deployment.wait_ready()
        time.sleep(chance.uniform(0, BREATHER_SECONDS))
    deployment.wait_ready()
    return names, tolls


def _ended_by_themselves(deployment: Deployment) -> list[str]:
    """After readiness nothing ends a process but a signal."""
    up = (*deployment.doors.values(), *deployment.workers.values())
    return [f"a process has ended by itself:\n{one.err[-2000:]}" for one in up if one.has_ended()]


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
