"""The loop under every schedule: its time, its order, and machines that stand still or die."""

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from tests.simulation.loop import Circling, Machine, SimulatedLoop, run


def played(main: Coroutine[Any, Any, Any], loop: SimulatedLoop) -> Any:
    try:
        return run(loop, main)
    finally:
        loop.close()


def order_of(seed: int, disorder: float) -> list[int]:
    told: list[int] = []

    async def tell(number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            told.append(number)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(tell(number))

    played(main(), SimulatedLoop(Random(seed), disorder))
    return told


def test_an_hour_passes_at_once() -> None:
    loop = SimulatedLoop(Random(1), 0.0)
    played(asyncio.sleep(3600), loop)
    assert loop.time() == 3600


def test_without_disorder_the_order_is_that_of_asyncio() -> None:
    assert order_of(1, 0.0) == [*range(5)] * 3


def test_a_seed_decides_the_order() -> None:
    orders = [order_of(seed, 0.5) for seed in range(10)]
    assert orders == [order_of(seed, 0.5) for seed in range(10)]
    assert len({tuple(order) for order in orders}) == 10


def test_a_frozen_machine_stands_still_and_goes_on() -> None:
    machine, told = Machine("m"), list[float]()
    loop = SimulatedLoop(Random(1), 0.0)

    async def tell() -> None:
        while True:
            await asyncio.sleep(1)
            told.append(loop.time())

    async def main() -> None:
        loop.begin(machine, tell(), "tell")
        await asyncio.sleep(2.5)
        machine.frozen = True
        await asyncio.sleep(5)
        loop.thaw(machine)
        await asyncio.sleep(2)
        loop.kill(machine)

    played(main(), loop)
    assert told == [1, 2, 7.5, 8.5]


def test_a_killed_machine_takes_what_it_began_with_it() -> None:
    machine, told = Machine("m"), list[str]()
    loop = SimulatedLoop(Random(1), 0.0)

    async def tell() -> None:
        await asyncio.sleep(1)
        told.append("child")

    async def begin() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tell())

    async def main() -> None:
        loop.begin(machine, begin(), "begin")
        await asyncio.sleep(0.5)
        loop.kill(machine)
        await asyncio.sleep(2)

    played(main(), loop)
    assert not told
    assert not machine.tasks


def test_what_will_never_happen_is_no_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    loop = SimulatedLoop(Random(1), 0.0)
    with pytest.raises(Circling, match="nothing will ever happen"):
        played(main(), loop)
    for task in list(loop.tasks.values()):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
