"""Some hundred schedules hold every promise; a seed says everything about its schedule."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.delivery import Delivery
from consumer.settler import Settler
from consumer.worker import Worker
from handlers.loyalty.handler import Loyalty
from storage.database import Database, Transaction
from tests.simulation.campaign import campaign, one, prepared, template
from tests.simulation.faults import FAULTS
from tests.simulation.world import World
from tests.test_imports import imported_modules

ROOT = Path(__file__).parents[2]
SEEDS = 200
PRODUCT = ("broker", "consumer", "events", "handlers", "storage")
DIGESTS = (
    "from tests.simulation.campaign import one\n"
    "print(*(one(seed).digest for seed in (3, 14, 15, 92, 65, 35)), sep='\\n')"
)


def test_every_promise_holds_in_every_schedule() -> None:
    tally = campaign(range(SEEDS))
    assert tally.failed == ()
    assert tally.schedules == SEEDS
    # A world in which nothing goes wrong proves nothing.
    assert tally.records > 3 * SEEDS
    assert tally.calls > 3 * SEEDS
    assert tally.faults["kill"] > SEEDS / 4
    names = {fault.__name__.replace("_", " ") for fault in FAULTS}
    assert names <= tally.faults.keys()


def test_a_seed_gives_the_same_course_of_events_whatever_came_before() -> None:
    alone = [one(seed).digest for seed in (21, 22)]
    campaign(range(10))
    assert [one(seed).digest for seed in (21, 22)] == alone
    assert alone[0] != alone[1]


def test_a_seed_gives_the_same_course_of_events_in_every_process() -> None:
    digests = {_digests_with(hash_seed) for hash_seed in ("0", "4711")}
    assert len(digests) == 1


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
