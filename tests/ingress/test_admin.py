"""The admin port."""

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from ingress.admin import admin_app
from ingress.metrics import TypeLabels
from ingress.server import serve


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("redemptions_things", "Things", registry=registry).inc(3)
    return registry


async def test_health_follows_its_checks_and_metrics_come_from_their_registry(
    registry: CollectorRegistry,
) -> None:
    checks = {"log": True, "database": True}
    app = admin_app(live=dict, ready=lambda: checks, registry=registry)
    async with (
        serve(app, "127.0.0.1", 0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        well = await client.get("/health/ready")
        assert (well.status_code, well.json()) == (200, {"status": "ok", "checks": checks})
        checks["database"] = False
        unwell = await client.get("/health/ready")
        assert (unwell.status_code, unwell.json()) == (503, {"status": "unavailable", "checks": checks})
        assert (await client.get("/health/live")).status_code == 200
        assert "redemptions_things_total 3.0" in (await client.get("/metrics")).text
        assert (await client.get("/metrics/")).status_code == 404
        assert (await client.post("/health/live")).status_code == 405


def test_type_labels_are_plain_words_and_only_so_many() -> None:
    types = TypeLabels()
    assert types.label("customer.redemption.succeeded") == "customer.redemption.succeeded"
    for odd in ("", "a@b.example", "cust_123", "x" * 65, "a b", "Überraschung", "a..b"):
        assert types.label(odd) == "other"
    names = [f"type.{'x' * (1 + number // 26)}{chr(97 + number % 26)}" for number in range(300)]
    assert len({types.label(name) for name in names}) <= 101
    assert types.label("customer.redemption.succeeded") == "customer.redemption.succeeded"
