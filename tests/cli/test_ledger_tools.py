"""What people do with the ledger: explain, adjust, restate, export, what-if and the check of a policy."""

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest

from events.runtime import SystemRuntime
from storage.connect import connect
from storage.upgrade import upgrade
from tests.cli.conftest import Shell
from tests.handlers.books import Books
from tests.handlers.deliveries import a_sale

ALWAYS = "2000-01-01"
NEVER_AGAIN = "2100-01-01"
DOUBLE = '[[versions]]\nversion = "double"\nbase = "total_amount"\npoints = 2\nevery = 100\n'


@pytest.fixture
def sold(tmp_path: Path) -> None:
    """A ledger in the directory's own data dir with one sale of 103.49 to a customer named like a formula."""

    async def fill() -> None:
        (tmp_path / ".redemptions").mkdir()
        database = connect(f"sqlite:///{tmp_path}/.redemptions/store.db", SystemRuntime())
        await upgrade(database)
        await Books(database).apply(a_sale("r_1", customer="=cmd", order="ord_1", total=10_349))
        await database.close()

    asyncio.run(fill())


@pytest.mark.parametrize("what", ["r_1", "ord_1"])
def test_explain_redoes_the_arithmetic_of_an_order(sold: None, shell: Shell, what: str) -> None:
    told = json.loads(shell("ledger", "explain", what, "--json").out)
    assert (told["deciding"], told["points"]) == ("r_1", {"=cmd": 103})
    assert told["redemptions"][0]["facts"]["succeeded"] is True
    assert [entry["points"] for entry in told["entries"]] == [103]
    text = shell("ledger", "explain", what).out
    assert "1 for each 100: 103" in text


def test_explain_knows_nothing_of_what_never_came(sold: None, shell: Shell) -> None:
    ended = shell("ledger", "explain", "r_unknown")
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1


def test_an_adjustment_is_posted_once_for_its_key(sold: None, shell: Shell) -> None:
    adjust = ("ledger", "adjust", "=cmd", "-10", "--reason", "taken back", "--key", "K1")
    assert [shell(*adjust).code for _ in range(2)] == [0, 0]
    assert shell("ledger", "balance", "=cmd").out == "93\n"
    other = shell("ledger", "adjust", "=cmd", "+5", "--reason", "taken back", "--key", "K1")
    assert other.code == 1
    assert shell("ledger", "balance", "=cmd").out == "93\n"
    entries = json.loads(shell("ledger", "entries", "--json").out)
    assert [(entry["kind"], entry["points"]) for entry in entries] == [("earn", 103), ("adjust", -10)]
    assert shell("ledger", "verify").code == 0


def test_an_export_is_safe_to_open_in_a_spreadsheet(sold: None, shell: Shell) -> None:
    span = ("--since", ALWAYS, "--until", NEVER_AGAIN)
    (row,) = csv.DictReader(io.StringIO(shell("ledger", "export", *span).out))
    assert (row["customer_id"], row["points"]) == ("'=cmd", "103")
    (line,) = shell("ledger", "export", *span, "--format", "jsonl").out.splitlines()
    assert json.loads(line)["customer_id"] == "=cmd"
    assert shell("ledger", "export", "--since", ALWAYS, "--until", ALWAYS).out.count("\n") == 1


def test_a_policy_that_changes_the_past_is_shown_and_then_posted(
    sold: None, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "double.toml").write_text(DOUBLE)
    assert shell("loyalty", "check", "double.toml").code == 0
    monkeypatch.setenv("REDEMPTIONS_LOYALTY_POLICY", "double.toml")
    dry = shell("ledger", "restate", "--dry-run")
    assert "ord_1" in dry.out
    assert shell("ledger", "balance", "=cmd").out == "103\n"
    assert shell("ledger", "restate").code == 0
    assert shell("ledger", "balance", "=cmd").out == "206\n"
    assert shell("ledger", "verify").code == 0
    shell("ledger", "restate")
    assert shell("ledger", "balance", "=cmd").out == "206\n"


def test_a_wrong_policy_is_told_with_its_places(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('[[versions]]\nversion = "x"\npionts = 2\nevery = 0\n')
    ended = shell("loyalty", "check", "wrong.toml")
    assert ended.code == 1
    assert "versions[1].pionts" in ended.out + ended.err
    assert "versions[1].every" in ended.out + ended.err


def test_what_if_tells_what_a_policy_would_give_without_a_database(shell: Shell, tmp_path: Path) -> None:
    body = {
        "customer": {"id": "anna"},
        "order": {"id": "o", "total_amount": 500},
        "redemption": {"id": "r_1"},
    }
    (tmp_path / "event.json").write_text(json.dumps(body))
    (tmp_path / "double.toml").write_text(DOUBLE)
    told = json.loads(shell("loyalty", "what-if", "event.json", "--policy", "double.toml", "--json").out)
    assert told["customers"] == {"anna": 10}
    assert not (tmp_path / ".redemptions").exists()
