"""What is made of the figures: resumed, compared, shown."""

from pathlib import Path
from xml.etree import ElementTree

import cramjam
import pytest

from bench.cell import Measured
from bench.events import Events
from bench.plot import svg
from bench.quick import regressions
from bench.report import markdown
from bench.results import ResultsFile, ratios
from bench.worker_cells import RAW_LOOP
from events.decode import decode
from events.event import Kind, RedemptionEvent


def a_play(cell: str, number: int = 1, rate: float = 1_000.0, own: float = 10.0) -> Measured:
    return Measured(cell, number, 20_000, 20_000 / rate, rate, {"own": own, "postgres": 0.0}, 80.0)


def test_events_are_redemptions_of_the_documented_size_and_each_is_another() -> None:
    bodies = [body for _, body in Events(500, 50).bodies()]
    decoded = [decode(body, "default") for body in bodies]
    assert all(4_200 < len(body) < 4_500 for body in bodies)
    assert {event.kind for event in decoded if isinstance(event, RedemptionEvent)} == {Kind.SUCCEEDED}
    assert len({event.redemption_id for event in decoded if isinstance(event, RedemptionEvent)}) == 500
    assert len({key for key, _ in Events(500, 50).bodies()}) <= 50


def test_events_compress_no_better_than_different_deliveries_do() -> None:
    batch = b"".join(body for _, body in Events(60, 50).bodies())
    assert len(bytes(cramjam.lz4.compress_block(batch))) > len(batch) / 12


def test_a_ratio_is_of_the_same_round_so_that_a_slow_minute_changes_nothing() -> None:
    fast = [a_play(RAW_LOOP, 1, 60_000), a_play("ours", 1, 12_000)]
    slow = [a_play(RAW_LOOP, 2, 6_000), a_play("ours", 2, 1_200)]
    assert ratios(fast + slow, RAW_LOOP)["ours"] == pytest.approx(0.2)


def test_a_run_that_was_stopped_knows_what_it_has(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "results.json")
    file.results.measured.append(a_play("ours", 2))
    file.save()
    resumed = ResultsFile(tmp_path / "results.json").results
    assert resumed.has("ours", 2)
    assert not resumed.has("ours", 1)


def test_a_cell_that_became_slower_dearer_or_silent_is_a_regression() -> None:
    before = [a_play(RAW_LOOP), a_play("slower", rate=500), a_play("dearer", own=20), a_play("silent")]
    now = [a_play(RAW_LOOP), a_play("slower", rate=300), a_play("dearer", own=30)]
    faults = regressions(before, now)
    assert [fault.partition(":")[0] for fault in faults] == ["slower", "dearer", "silent"]


def test_nothing_to_compare_with_is_no_success() -> None:
    assert regressions([], [a_play(RAW_LOOP)])


def test_a_slower_machine_is_no_regression() -> None:
    before = [a_play(RAW_LOOP, rate=60_000, own=15), a_play("ours", rate=15_000, own=60)]
    now = [a_play(RAW_LOOP, rate=20_000, own=45), a_play("ours", rate=5_000, own=180)]
    assert regressions(before, now) == []


def test_tables_and_plot_show_each_cell(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "results.json").results
    results.measured += [a_play(RAW_LOOP), a_play("ours & theirs", rate=250)]
    results.left_out["Spring"] = "no mvn found"
    text = markdown(results)
    assert "| ours & theirs | 250 | 0.250 |" in text
    assert "- Spring: no mvn found" in text
    shown = [text.text for text in ElementTree.fromstring(svg(results.measured)).iter() if text.text]
    assert {"ours & theirs", "0.25"} <= set(shown)
