"""The highest fixed rate at which a door still answers within a time: "as fast at the same p99"."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.doors import Door
from bench.events import preload
from bench.ingress import ARRIVALS, WARM_SECONDS
from bench.knocking import at_rate, opened
from bench.measuring import running
from bench.services import Services, free_port
from bench.tables import Tabled

CLIMB = "Highest rate within a p99"
RATES = (
    100,
    200,
    300,
    400,
    500,
    600,
    700,
    800,
    900,
    1_000,
    1_200,
    1_400,
    1_600,
    1_800,
    2_000,
    2_300,
    2_600,
    3_000,
    3_500,
    4_000,
)
"""Requests a second, one after the other, on the same server."""
WITHIN_MS = (10.0, 25.0, 50.0, 100.0)
KEPT_UP = 0.95
"""Of the rate asked for: below that more and more wait."""


async def climb(
    door: Door, number: int, posts: Sequence[bytes], services: Services, seconds: float
) -> Tabled:
    """Round `number` of a door. Raises Unprepared, TimeoutError."""
    await preload(services.kafka, ARRIVALS)
    highest = dict.fromkeys(WITHIN_MS, 0)
    with tempfile.TemporaryDirectory(prefix="bench-climb-") as place:
        port = free_port()
        command = await door.prepare(services.kafka, ARRIVALS.topic, port)
        with running(command, Path(place) / "log"):
            await opened(port)
            await at_rate(port, posts, 200, WARM_SECONDS)
            for rate in RATES:
                answers = await at_rate(port, posts, rate, seconds)
                p99 = answers.milliseconds[1]
                if answers.errors or answers.rate < KEPT_UP * rate:
                    break
                highest |= {within: rate for within in WITHIN_MS if p99 <= within}
    columns = {f"within {within:.0f} ms": rate for within, rate in highest.items()}
    return Tabled(CLIMB, {"door": door.name, "round": number, **columns})
