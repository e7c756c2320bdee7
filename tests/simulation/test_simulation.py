"""Some hundred schedules hold every promise; a seed says everything about its schedule."""

import asyncio
import inspect
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from consumer.delivery import Delivery
from consumer.settler import Settler
from consumer.worker import Worker
from handlers.loyalty.handler import Loyalty
from storage.database import Database, Transaction
from tests.simulation.broker import BrokerIlls
from tests.simulation.campaign import campaign, one, prepared, template
from tests.simulation.faults import FAULTS
from tests.simulation.group import SESSION_SECONDS
from tests.simulation.loop import run
from tests.simulation.weather import some_weather
from tests.simulation.world import World
from tests.test_imports import imported_modules

ROOT = Path(__file__).parents[2]
SEEDS = 200
AT_ONCE = 40
PRODUCT = ("broker", "consumer", "events", "handlers", "storage")
DIGESTS = (
    "from tests.simulation.campaign import one\n"
    "print(*(one(seed).digest for seed in (3, 14, 15, 92, 65, 35)), sep='\\n')"
)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_promise_holds_in_every_schedule(first: int) -> None:
    tally = campaign(range(first, first + AT_ONCE))
    assert tally.failed == ()
    assert tally.schedules == AT_ONCE
    # A world in which nothing goes wrong proves nothing.
    assert tally.records > 3 * AT_ONCE
    assert tally.calls > 3 * AT_ONCE
    assert tally.faults["kill"] > AT_ONCE / 4


def test_every_fault_is_drawn() -> None:
    drawn = [fault for seed in range(SEEDS) for _, fault in some_weather(Random(seed)).faults]
    assert {*drawn} == {*FAULTS}


def test_a_seed_gives_the_same_course_of_events_whatever_came_before() -> None:
    alone = [one(seed).digest for seed in (21, 22)]
    campaign(range(10))
    assert [one(seed).digest for seed in (21, 22)] == alone
    assert alone[0] != alone[1]


def test_a_seed_gives_the_same_course_of_events_in_every_process() -> None:
    digests = {_digests_with(hash_seed) for hash_seed in ("0", "4711")}
    assert len(digests) == 1


def test_a_worker_that_ended_without_knowing_that_it_joined_is_no_member() -> None:
    async def come_and_go(world: World) -> None:
        world.log.ills = BrokerIlls(lost=1.0)
        process = world.processes[0]
        process.start()
        await asyncio.sleep(1)
        assert world.group.members
        process.terminate()
        await process.ended()
        await asyncio.sleep(2 * SESSION_SECONDS)
        assert not world.group.members

    with prepared(None):
        world = World(1, template())
        try:
            run(world.loop, come_and_go(world))
        finally:
            world.loop.close()


@pytest.mark.parametrize("judge", ["judgement", "judgement_of_calls", "watching", "load"])
def test_who_judges_shares_no_code_with_the_product(judge: str) -> None:
    source = (ROOT / "tests" / "simulation" / f"{judge}.py").read_text()
    assert not {module.split(".")[0] for module in imported_modules(source)} & {*PRODUCT}


def test_what_runs_is_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its classes, unchanged: only the runtime, the log, the engine under the database and the merchant's
    handlers are ours."""
    made: set[str] = set()
    for kind in (Worker, Delivery, Settler, Loyalty, Database, Transaction):
        real = kind.__init__

        def noted(self: object, *arguments: object, _real: object = real, **more: object) -> None:
            made.add(f"{type(self).__module__}.{type(self).__qualname__}")
            _real(self, *arguments, **more)  # type: ignore[operator]

        monkeypatch.setattr(kind, "__init__", noted)
    one(1)
    assert made == {
        "consumer.worker.Worker",
        "consumer.delivery.Delivery",
        "consumer.settler.Settler",
        "handlers.loyalty.handler.Loyalty",
        "storage.database.Database",
        "storage.database.Transaction",
    }


def test_nothing_of_the_product_is_replaced_but_times() -> None:
    before = _functions()
    with prepared(None):
        during = _functions()
        World(2, template()).run()
        assert _functions() == during == before


def _functions() -> dict[str, int]:
    """Every function and class of the product that is loaded, by name, with which object it is."""
    return {
        f"{name}.{word}": id(value)
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] in PRODUCT
        for word, value in vars(module).items()
        if inspect.isfunction(value) or inspect.isclass(value)
    }


def _digests_with(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout
