"""`redemptions reconcile`: settings, answers, exit codes, and a process that is killed and called again."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.reconcile.voucherify import APP_ID, APP_TOKEN, Voucherify, a_redemption, a_rollback, served, status

COMMAND = Path(sys.executable).with_name("redemptions")
DAY = 86_400
MARCH = ("reconcile", "--since", "2026-03-01", "--until", "2026-04-01")


@pytest.fixture
def voucherify(monkeypatch: pytest.MonkeyPatch, shell: Shell) -> Iterator[Voucherify]:
    with served() as voucherify:
        monkeypatch.setenv("REDEMPTIONS_VOUCHERIFY_BASE_URL", voucherify.url)
        monkeypatch.setenv("REDEMPTIONS_VOUCHERIFY_APP_ID", APP_ID)
        monkeypatch.setenv("REDEMPTIONS_VOUCHERIFY_APP_TOKEN", APP_TOKEN)
        assert shell("db", "upgrade").code == 0
        yield voucherify


def test_a_month_without_redemptions_is_fine(shell: Shell, voucherify: Voucherify) -> None:
    ended = shell(*MARCH, "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == {
        "since": "2026-03-01T00:00:00.000Z",
        "until": "2026-04-01T00:00:00.000Z",
        "checked": 0,
        "missing": [],
        "extra": [],
        "different": [],
        "unreadable": 0,
        "enqueued": 0,
        "erased": 0,
    }
    assert ended.err == ""


def test_what_is_missing_is_printed_and_the_answer_is_no(shell: Shell, voucherify: Voucherify) -> None:
    voucherify.add(a_redemption("r_1", DAY), a_rollback("r_1", 2 * DAY))
    ended = shell(*MARCH, "--json")
    assert ended.code == 1
    answer = json.loads(ended.out)
    assert answer["missing"][0] == {
        "kind": "succeeded",
        "redemption_id": "r_1",
        "rollback_id": None,
        "customer_id": "cust_1",
        "order_id": "ord_r_1",
        "date": "2026-03-02T00:00:00.000Z",
    }
    assert [each["kind"] for each in answer["missing"]] == ["succeeded", "rolled_back"]
    for_people = shell(*MARCH)
    assert for_people.code == 1
    assert "missing  succeeded  r_1" in for_people.out
    assert "2 checked: 2 missing, 0 extra, 0 different" in for_people.out


def test_enqueueing_all_that_is_missing_is_fine(shell: Shell, voucherify: Voucherify) -> None:
    voucherify.add(a_redemption("r_1", DAY))
    ended = shell(*MARCH, "--enqueue", "--json")
    assert (ended.code, json.loads(ended.out)["enqueued"]) == (0, 1)


@pytest.mark.parametrize("name", ["BASE_URL", "APP_ID", "APP_TOKEN"])
def test_a_missing_setting_is_named(
    name: str, shell: Shell, voucherify: Voucherify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"REDEMPTIONS_VOUCHERIFY_{name}")
    ended = shell(*MARCH)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"redemptions: to ask Voucherify, set REDEMPTIONS_VOUCHERIFY_{name}\n"


def test_refused_credentials_are_one_line_without_the_token(
    shell: Shell, voucherify: Voucherify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDEMPTIONS_VOUCHERIFY_APP_TOKEN", "s3cret-token")
    ended = shell(*MARCH)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "HTTP 401" in ended.err
    assert "s3cret" not in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("reconcile",),
        ("reconcile", "--since", "yesterday"),
        ("reconcile", "--since", "0001-01-01"),
        ("reconcile", "--since", "2026-03-01", "--until", "2026-03-01"),
        ("reconcile", "--since", "2999-01-01"),
        (*MARCH, "--tenant", "../up"),
    ],
)
def test_wrong_use_is_said_in_one_line(
    arguments: tuple[str, ...], shell: Shell, voucherify: Voucherify
) -> None:
    ended = shell(*arguments)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert voucherify.queries == []


def test_times_may_be_given_with_their_zone(shell: Shell, voucherify: Voucherify) -> None:
    window = ("--since", "2026-03-01T02:00:00+02:00", "--until", "2026-03-02T00:00:00Z")
    answer = json.loads(shell("reconcile", *window, "--json").out)
    assert (answer["since"], answer["until"]) == ("2026-03-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z")


def called(tmp_path: Path, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    return subprocess.Popen(
        [COMMAND, *arguments],
        env=os.environ | settings,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_killed_run_goes_on_when_it_is_called_again(
    shell: Shell, voucherify: Voucherify, tmp_path: Path
) -> None:
    voucherify.add(*(a_redemption(f"r_{number:05d}", number * 260) for number in range(1, 10_001)))
    reached, on = Event(), Event()

    def stop_at_the_second_half(query: dict[str, str]) -> None:
        if query["created_at[after]"] > "2026-03-16" and query["page"] == "3":
            reached.set()
            on.wait(60)

    voucherify.before_answer = stop_at_the_second_half
    process = called(tmp_path, *MARCH, "--json")
    assert reached.wait(60)
    process.kill()
    process.communicate()
    on.set()
    voucherify.before_answer = lambda query: None
    voucherify.queries.clear()
    ended = shell(*MARCH, "--json")
    assert "going on where the last run stopped" in ended.err
    assert min(query["created_at[after]"] for query in voucherify.queries) > "2026-03-16"
    answer = json.loads(ended.out)
    ids = [each["redemption_id"] for each in answer["missing"]]
    assert answer["checked"] == len(ids) == len(set(ids)) == 10_000
    voucherify.queries.clear()
    assert shell(*MARCH, "--json").code == 1
    assert min(query["created_at[after]"] for query in voucherify.queries) < "2026-03-01"


def test_what_is_enqueued_reaches_the_ledger_through_the_worker(
    shell: Shell, voucherify: Voucherify, tmp_path: Path
) -> None:
    voucherify.add(a_redemption("r_1", DAY), a_redemption("r_2", 2 * DAY), a_rollback("r_1", 3 * DAY))
    assert shell(*MARCH, "--enqueue").code == 0
    worker = called(tmp_path, "worker", REDEMPTIONS_ADMIN_PORT="0")
    try:
        assert shell("status", "--wait-idle", "60").code == 0
    finally:
        worker.terminate()
        worker.communicate()
    balance: dict[str, Any] = json.loads(shell("ledger", "balance", "cust_1", "--json").out)
    assert balance["points"] == 100
    ended = shell(*MARCH, "--json")
    assert (ended.code, json.loads(ended.out)["checked"]) == (0, 3)


def test_after_so_many_failures_it_says_how_to_go_on(
    shell: Shell, voucherify: Voucherify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconcile.client.TRIES", 1)
    voucherify.troubles = [status(503)]
    ended = shell(*MARCH)
    assert ended.code == 1
    assert "HTTP 503; the same command goes on where this one stopped" in ended.err
