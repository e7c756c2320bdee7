"""Each piece plays for a moment: what it measures means nothing here, that it measures does."""

from pathlib import Path

import pytest

from bench import growth, holding, ingress, latency
from bench.cell import Cell
from bench.doors import DOORS, NAIVE, Door
from bench.events import Events, preload
from bench.ingress import knock_at
from bench.knocking import Answers, at_rate, requests
from bench.measuring import Limits, measure
from bench.services import Services
from bench.worker_cells import CELLS

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
FEW = Events(20_000, 500)
MORE = Events(60_000, 500)
"""For two plays in turn."""
PLAYED = [
    cell
    for cell in CELLS
    if cell.name in ("raw loop", "ours: loyalty, SQLite", "ours: loyalty + notification, PostgreSQL")
]


@pytest.fixture
def services(kafka: str, postgres_url: str) -> Services:
    return Services(kafka, postgres_url, None, None)


@pytest.mark.parametrize("cell", PLAYED, ids=lambda cell: cell.name)
async def test_a_cell_is_measured(cell: Cell, services: Services) -> None:
    await preload(services.kafka, FEW)
    measured = await measure(cell, 1, FEW, services, Limits(3.0))
    assert measured.rate > 0
    assert measured.cpu["own"] > 0


@pytest.mark.parametrize("door", [door for door in DOORS if door.name != NAIVE], ids=lambda door: door.name)
async def test_a_door_is_measured(door: Door, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    async def knock(port: int, posts: list[bytes], seconds: float, _: Path) -> Answers:
        return await at_rate(port, posts, 50, seconds)

    monkeypatch.setitem(ingress.KNOCKS, "a moment", knock)
    monkeypatch.setattr(ingress, "WARM_SECONDS", 0.2)
    answered = await knock_at(door, "a moment", 1, requests(Events(20, 5)), services, 0.5)
    assert answered.errors == 0
    assert 0 < answered.p50 <= answered.p99


async def test_latency_is_measured(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "FLOOD_SECONDS", 0.3)
    monkeypatch.setattr(latency, "FLOOD_RATE", 500.0)
    row = await latency.latency_at("sqlite", 0.1, services, 0.5)
    assert row.values["refused"] == 0


async def test_throughput_beside_what_is_stored_is_measured(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "FRESH", MORE)
    monkeypatch.setattr(growth, "BASE_SECONDS", 1.0)
    monkeypatch.setattr(growth, "WARM_SECONDS", 0.5)
    await preload(services.kafka, MORE)
    row = await growth.growth_at(100_000, services, 1, Limits(2.0), empty=0.1)
    assert 80_000 < int(row.values["stored"]) < 120_000
    assert row.values["redemptions"] == 100_000
    assert float(row.values["of the empty store's"]) > 0


async def test_claims_beside_effects_that_wait_are_measured(services: Services) -> None:
    row = await growth.claims_at(1_000, services)
    assert float(row.values["ms for 500"]) > 0


async def test_memory_beside_effects_that_wait_is_measured(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "FRESH", FEW)
    await preload(services.kafka, FEW)
    row = await holding.backlog_of(2_000, services, 2.0)
    assert float(row.values["RSS MiB while they come"]) > 0
    assert float(row.values["RSS MiB while they go"]) > 0


async def test_memory_over_time_is_measured(services: Services) -> None:
    row = await holding.steady(0.05, 300, services)
    assert row.values["events"] == 900
    assert float(row.values["RSS MiB, first tenth"]) > 0
