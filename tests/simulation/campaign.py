"""Many schedules one after the other in one process, and what they add up to."""

import asyncio
import gc
import inspect
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import structlog
from tenacity._utils import is_coroutine_callable

from tests.simulation.loop import SimulatedLoop
from tests.simulation.mutations import MUTATIONS
from tests.simulation.pace import quick
from tests.simulation.result import Result
from tests.simulation.template import Template
from tests.simulation.weather import Weather, some_weather
from tests.simulation.world import World

LOGGED = "logged as an error"
COLLECT_EVERY = 200
"""Schedules: what one leaves behind takes longer to collect than to run a good part of it."""


class Tally(NamedTuple):
    schedules: int = 0
    cpu: float = 0.0
    """Seconds."""
    steps: int = 0
    seconds: float = 0.0
    """Simulated."""
    records: int = 0
    calls: int = 0
    faults: Counter[str] = Counter()  # noqa: RUF012 - added to, never changed
    failed: tuple[tuple[int, str], ...] = ()
    """Seeds, and the first thing that was wrong."""

    def plus(self, other: "Tally") -> "Tally":
        both: Iterable[tuple[Any, Any]] = zip(self, other, strict=True)
        return Tally(*(mine + others for mine, others in both))


def one(seed: int, mutation: str | None = None) -> Result:
    with prepared(mutation):
        return World(seed, template()).run()


def campaign(
    seeds: Iterable[int],
    mutation: str | None = None,
    *,
    enough: int | None = None,
    weather: Callable[[Random], Weather] = some_weather,
) -> Tally:
    """Run these seeds. `enough`: end when so many have failed."""
    tally, began = Tally(), time.process_time()
    with prepared(mutation):
        for count, seed in enumerate(seeds, 1):
            result = World(seed, template(), weather).run()
            tally = tally.plus(_tallied(result))
            if count % COLLECT_EVERY == 0:
                gc.collect()
            if enough is not None and len(tally.failed) >= enough:
                break
    return tally._replace(cpu=time.process_time() - began)


@contextmanager
def prepared(mutation: str | None) -> Iterator[None]:
    """Short times, no logs, no collector; the product broken in one way, or in none."""
    template()
    logged, collects = structlog.get_config(), gc.isenabled()
    structlog.configure(
        [_told],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    gc.disable()
    gc.freeze()  # what is there stays: the collector need not look at it again
    try:
        with (
            quick(),
            patch("tenacity._utils.is_coroutine_callable", _is_coroutine_function),
            MUTATIONS[mutation]() if mutation else nullcontext(),
        ):
            yield
    finally:
        structlog.configure(**logged)
        gc.unfreeze()
        if collects:
            gc.enable()


def _is_coroutine_function(call: Any) -> bool:
    """As tenacity finds it out for each try of each step; a tenth of a schedule's time, in its way."""
    code = getattr(call, "__code__", None)
    return is_coroutine_callable(call) if code is None else bool(code.co_flags & inspect.CO_COROUTINE)


def _told(logger: Any, method: str, event: Any) -> Any:
    """What the product calls an error is a fault of its own: outages and bad events are warnings."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    error = event.pop("exc_info", None)
    text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    loop.wrong.append(f"{LOGGED}: {event} {text}")
    raise structlog.DropEvent


def _tallied(result: Result) -> Tally:
    failed = ((result.seed, result.wrong[0]),) if result.wrong else ()
    return Tally(1, 0.0, result.steps, result.seconds, result.records, result.calls, result.faults, failed)


@cache
def template() -> Template:
    return Template()
