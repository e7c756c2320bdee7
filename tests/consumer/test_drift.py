"""Drift through the worker: every event is seen, examples are kept once, hostile senders fill nothing."""

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import consumer.drift
from broker.protocols import Record
from consumer.drift import ALWAYS, AT_MOST, MOST_KINDS, DriftWatch
from consumer.metrics import WorkerMetrics
from events.failures import Malformed, Unavailable
from events.runtime import SystemRuntime
from storage.database import Transaction
from storage.schema import State
from tests.consumer.bench import Bench, a_success
from tests.consumer.scripted import TOPIC, ScriptedLog


def changed(redemption: str = "r_1", /, **top: Any) -> bytes:
    return json.dumps(json.loads(a_success(redemption)) | top).encode()


async def test_one_event_with_something_new_is_processed_counted_and_kept_as_an_example(
    bench: Bench, log: ScriptedLog
) -> None:
    secret = {"name": "Anna", "points": [1, 2]}
    await log.append(TOPIC, a_success("r_2"))
    await log.append(TOPIC, changed("r_1", wallet=secret, order={"status": "SHIPPED", "total_amount": 100}))
    await bench.settle_all()
    assert (await bench.effects())["shop", "r_1", 0][0] == State.DONE
    assert bench.metric("contract_drift_total", kind="key", place="data", seen="wallet") == 1
    assert bench.metric("contract_drift_total", kind="value", place="order.status", seen="SHIPPED") == 1
    rows = await bench.rows('SELECT kind, seen, tenant, "offset", structure FROM drift ORDER BY kind')
    assert [row[:4] for row in rows] == [("key", "wallet", "default", 1), ("value", "SHIPPED", "default", 1)]
    assert json.loads(rows[0][4])["wallet"] == {"name": "string", "points": ["integer"]}
    assert "Anna" not in str(rows)


async def test_an_unknown_event_type_is_kept_as_an_example(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, b'{"event": {"type": "redemption.paused"}, "data": {"x": 1}}')
    await bench.settle_all()
    assert await bench.rows("SELECT kind, seen FROM drift") == [("event_type", "redemption.paused")]
    labels = {"kind": "event_type", "place": "event.type", "seen": "redemption.paused"}
    assert bench.metric("contract_drift_total", **labels) == 1


async def test_the_example_stays_the_first_one(bench: Bench, log: ScriptedLog) -> None:
    async with bench.running():
        for number in range(3):
            await log.append(TOPIC, changed(f"r_a{number}", wallet=number))
            await bench.until_idle()
    assert await bench.rows('SELECT "offset" FROM drift') == [(0,)]


async def test_a_batch_whose_commit_was_lost_keeps_its_example(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, changed(wallet=1))
    outages = [Unavailable("database_unavailable", "away for a moment")]

    async def fail_once(_: Transaction) -> None:
        if outages:
            raise outages.pop()

    bench.shop.verdicts = {"r_1": fail_once}
    await bench.settle_all()
    assert await bench.rows("SELECT seen FROM drift") == [("wallet",)]
    assert bench.metric("contract_drift_total", kind="key", place="data", seen="wallet") == 1


async def test_a_sender_that_invents_keys_fills_neither_metrics_nor_database(
    bench: Bench, log: ScriptedLog
) -> None:
    letters = [f"{a}{b}" for a in "abcdefghijklmnopqrstuvwxyz" for b in "abcdefghijklmnopqrstuvwxyz"]
    for number in range(10):
        keys = {f"key_{name}": 1 for name in letters[number * 40 : number * 40 + 40]}
        await log.append(TOPIC, changed(f"r_a{number}", **keys))
    await bench.settle_all()
    series = [
        sample
        for metric in bench.registry.collect()
        for sample in metric.samples
        if sample.name == "redemptions_contract_drift_total"
    ]
    assert len(series) == MOST_KINDS + 1
    assert bench.metric("contract_drift_total", kind="key", place="data", seen="other") == 8
    assert await bench.scalar("SELECT count(*) FROM drift") == MOST_KINDS + 1
    assert await bench.letters() == []


@pytest.mark.parametrize("drifting", [True, False])
async def test_a_batch_gets_so_many_close_looks(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, drifting: bool
) -> None:
    looks = 0
    look = consumer.drift.drift_in

    def counted(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return look(*given)

    monkeypatch.setattr(consumer.drift, "drift_in", counted)
    for number in range(AT_MOST + 50):
        await log.append(TOPIC, changed(f"r_a{number}", wallet=1) if drifting else a_success(f"r_a{number}"))
    await bench.settle_all()
    assert looks == (AT_MOST if drifting else ALWAYS)


def test_small_batches_share_the_close_looks_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    monkeypatch.setattr(consumer.drift, "drift_in", lambda *given: looks.append(given) or [])
    runtime, now = SystemRuntime(), [1000.0]
    monkeypatch.setattr(runtime, "monotonic", lambda: now[0])
    watch = DriftWatch(WorkerMetrics(CollectorRegistry()), runtime)
    for seconds, expected in ((0.0, ALWAYS), (0.5, ALWAYS * 3 // 2), (60.0, ALWAYS * 5 // 2)):
        now[0] += seconds
        for _ in range(ALWAYS * 2):
            watch.begin()
            watch.read([Record(TOPIC, 0, 0, 0, None, a_success("r_1"), ())], "group")
        assert len(looks) == expected


def test_a_body_that_is_almost_too_deep_is_understood_or_too_deep() -> None:
    watch = DriftWatch(WorkerMetrics(CollectorRegistry()), SystemRuntime())
    reasons = set()
    for depth in range(50, 1100, 3):
        raw = changed()[:-1] + b', "wallet": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        (item,) = watch.read([Record(TOPIC, 0, 0, 0, None, raw, ())], "group")
        reasons.add(item.meaning.reason if isinstance(item.meaning, Malformed) else "understood")
    assert reasons == {"understood", "too_deep"}
