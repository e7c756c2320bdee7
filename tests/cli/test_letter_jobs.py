"""Replay, discard, stats, export and jobs, as operators type them, on a data dir with some dead letters."""

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from broker.protocols import Record
from consumer.item import read_item
from consumer.letters import letter_of
from events.failures import Failure, Refused, Unavailable
from events.runtime import SystemRuntime
from storage.connect import connect
from storage.dead_letters import Letter, store_letters
from storage.upgrade import upgrade
from tests.cli.conftest import Ended, Shell
from tests.consumer.bench import a_success

GROUP = "redemptions"
REASON = ("--reason", "told to")


def a_letter(number: int, error: Failure, handler: str | None = "notifications") -> Letter:
    body = a_success(f"r_{number}", customer=f"=cust_{number}")
    record = Record("redemptions.events", 0, number, 1_700_000_000_000, b"k", body, (("tenant", b"default"),))
    return letter_of(read_item(record, GROUP), GROUP, handler, error, 3)


LETTERS = [
    a_letter(1, Refused("no_address", "nobody at cust_Aa01")),
    a_letter(2, Refused("no_address", "nobody at cust_Bb02")),
    a_letter(3, Refused("unfit_amount", "a fraction: 12.5"), "loyalty"),
]
IDS = [letter.id for letter in LETTERS]


@pytest.fixture
def letters(tmp_path: Path) -> None:
    """Two letters of one cause, one of another, in the directory's own data dir; nobody works."""

    async def fill() -> None:
        (tmp_path / ".redemptions").mkdir()
        database = connect(f"sqlite:///{tmp_path}/.redemptions/store.db", SystemRuntime())
        await upgrade(database)
        async with database.transaction() as transaction:
            await store_letters(transaction, LETTERS)
        await database.close()

    asyncio.run(fill())


def told(shell: Shell, *arguments: str) -> Any:
    ended = shell(*arguments, "--json")
    assert ended.code == 0, ended
    return json.loads(ended.out)


def states(shell: Shell) -> dict[str, str]:
    return {letter["id"]: letter["state"] for letter in told(shell, "dead-letters", "list", "--state", "all")}


def wrong_use(ended: Ended, complaint: str) -> None:
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1), ended
    assert complaint in ended.err


def test_stats_groups_by_cause_and_the_group_can_be_listed(letters: None, shell: Shell) -> None:
    groups = told(shell, "dead-letters", "stats")
    assert [(group["handler"], group["letters"], group["message"]) for group in groups] == [
        ("notifications", 2, "nobody at ?"),
        ("loyalty", 1, "a fraction: ?"),
    ]
    listed = told(shell, "dead-letters", "list", "--fingerprint", groups[0]["fingerprint"])
    assert [letter["id"] for letter in listed] == [*sorted(IDS[:2])]
    table = shell("dead-letters", "stats").out.splitlines()
    assert table[0].split() == [
        "letters", "died_again", "first_seen", "last_seen", "handler", "fingerprint", "message"
    ]  # fmt: skip
    assert "nobody at ?" in table[1]
    assert told(shell, "dead-letters", "stats", "--state", "discarded") == []


def test_a_replay_is_a_job_with_its_results(letters: None, shell: Shell) -> None:
    answer = told(shell, "dead-letters", "replay", "--handler", "notifications", "--all", "--rate", "500/s")
    assert (answer["matched"], answer["replayed"], answer["state"]) == (2, 2, "done")
    (job,) = told(shell, "jobs", "list")
    assert job["id"] == answer["job"]
    assert (job["kind"], job["total"], job["settled"], job["rate"]) == ("replay", 2, 2, 500.0)
    assert job["what"]["handler"] == "notifications"
    shown = told(shell, "jobs", "show", job["id"])
    assert shown["counts"]["replayed"] == 2 and shown["counts"]["died_again"] == 0
    results = told(shell, "jobs", "show", job["id"], "--letters")
    assert {(one["letter"], one["result"], one["generation"]) for one in results} == {
        (id_, "replayed", 1) for id_ in IDS[:2]
    }
    assert sorted(states(shell).values()) == ["open", "replayed", "replayed"]
    (deed,) = told(shell, "audit", "list")
    assert (deed["action"], deed["outcome"], deed["subject"]) == ("dead-letters replay", "done", job["id"])
    history = told(shell, "dead-letters", "show", IDS[0])["history"]
    assert [(one["event"], one["generation"], one["job"]) for one in history] == [
        ("died", 0, None),
        ("replayed", 1, job["id"]),
    ]
    assert history[1]["who"] == job["who"]


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_more_than_one_letter_needs_all(letters: None, shell: Shell, command: str) -> None:
    reason = REASON if command == "discard" else ()
    wrong_use(shell("dead-letters", command, *reason), "--all")
    wrong_use(shell("dead-letters", command, "--reason-code", "no_address", *reason), "--all")
    wrong_use(shell("dead-letters", command, *IDS[:2], *reason), "--all")
    assert set(states(shell).values()) == {"open"}
    assert told(shell, "audit", "list") == []
    assert shell("dead-letters", command, *IDS[:2], "--all", *reason).code == 0
    assert list(states(shell).values()).count("open") == 1


def test_discard_says_why_and_a_replay_by_id_brings_back(letters: None, shell: Shell) -> None:
    assert shell("dead-letters", "discard", IDS[0]).code == 2
    wrong_use(shell("dead-letters", "discard", IDS[0], "--reason", " "), "--reason")
    ended = shell("dead-letters", "discard", IDS[0], "--reason", "a test order")
    assert (ended.code, ended.out) == (0, "1 discarded\n")
    assert states(shell)[IDS[0]] == "discarded"
    (deed,) = told(shell, "audit", "list")
    assert (deed["action"], deed["reason"], deed["counts"]["discarded"]) == (
        "dead-letters discard",
        "a test order",
        1,
    )
    ended = shell("dead-letters", "discard", IDS[0], "--reason", "again")
    assert ended.code == 1 and IDS[0] in ended.err
    assert told(shell, "dead-letters", "replay", IDS[0])["replayed"] == 1
    history = told(shell, "dead-letters", "show", IDS[0])["history"]
    assert [(one["event"], one["why"]) for one in history] == [
        ("died", None),
        ("discarded", "a test order"),
        ("replayed", None),
    ]


def test_an_unknown_id_among_others_is_told_and_the_others_are_done(letters: None, shell: Shell) -> None:
    ended = shell("dead-letters", "replay", IDS[0], "no-such-id", "--json")
    assert (ended.code, json.loads(ended.out)["replayed"]) == (1, 1)
    assert "no-such-id" in ended.err


def test_a_dry_run_changes_nothing(letters: None, shell: Shell) -> None:
    for command in (("replay",), ("discard", *REASON)):
        answer = told(shell, "dead-letters", *command, "--all", "--dry-run")
        assert (answer["matched"], answer["dry_run"]) == (3, True)
    would = told(shell, "dead-letters", "replay", "--all", "--dry-run")
    assert would["handlers"] == {"notifications": 2, "loyalty": 1}
    assert would["ledger"]["customers"] == [{"tenant": "default", "customer_id": "=cust_3", "points": 100}]
    people = shell("dead-letters", "replay", "--handler", "loyalty", "--dry-run").out
    assert "ledger: +100 points, 1 accounts" in people
    assert set(states(shell).values()) == {"open"}
    assert told(shell, "jobs", "list") == told(shell, "audit", "list") == []


def test_a_detached_job_waits_for_workers_and_can_be_paused_resumed_cancelled(
    letters: None, shell: Shell
) -> None:
    answer = told(shell, "dead-letters", "replay", "--all", "--detach")
    job = answer["job"]
    assert (answer["state"], answer["replayed"]) == ("running", 0)
    assert shell("status", "--wait-idle", "0").code == 1
    assert shell("jobs", "pause", job).code == 0
    assert shell("jobs", "pause", job).code == 1
    assert told(shell, "jobs", "list", "--state", "paused")[0]["id"] == job
    assert told(shell, "jobs", "resume", job)["replayed"] == 3
    assert shell("jobs", "resume", job).code == shell("jobs", "cancel", job).code == 1
    other = told(shell, "dead-letters", "replay", *IDS, "--all", "--state", "replayed", "--detach")["job"]
    assert shell("jobs", "cancel", other).code == 0
    assert told(shell, "jobs", "show", other)["counts"]["waiting"] == 3
    actions = [(deed["action"], deed["outcome"]) for deed in told(shell, "audit", "list")]
    assert sorted(actions) == [
        ("dead-letters replay", "cancelled"),
        ("dead-letters replay", "done"),
        ("jobs cancel", "done"),
        ("jobs cancel", "done"),
        ("jobs pause", "done"),
        ("jobs pause", "done"),
        ("jobs resume", "done"),
    ]


def test_the_deed_is_on_record_even_if_it_then_fails(
    letters: None, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("log_unavailable", "the log is away")

    with monkeypatch.context() as patch:
        patch.setattr("consumer.job_steps.publish", away)
        ended = shell("dead-letters", "replay", IDS[0])
        assert ended.code == 1 and "jobs resume" in ended.err
    (deed,) = told(shell, "audit", "list")
    assert (deed["action"], deed["outcome"], deed["what"]["ids"]) == ("dead-letters replay", None, [IDS[0]])
    (job,) = told(shell, "jobs", "list")
    assert (job["state"], job["settled"], job["leased"]) == ("running", 0, False)
    assert told(shell, "jobs", "resume", job["id"])["replayed"] == 1


def test_a_job_that_cannot_be_made_is_on_record_as_failed(
    letters: None, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise Unavailable("database_unavailable", "the database is away")

    with monkeypatch.context() as patch:
        patch.setattr("cli.job_running.create_job", broken)
        assert shell("dead-letters", "discard", IDS[0], *REASON).code == 1
    (deed,) = told(shell, "audit", "list")
    assert deed["outcome"] == "failed"
    assert set(states(shell).values()) == {"open"}


def test_export_holds_everything_and_no_formula(letters: None, shell: Shell) -> None:
    lines = [json.loads(line) for line in shell("dead-letters", "export").out.splitlines()]
    assert {line["id"] for line in lines} == set(IDS)
    whole = next(line for line in lines if line["id"] == IDS[0])
    assert whole["body"].encode() == LETTERS[0].value
    assert (whole["headers"], whole["key"]) == ([["tenant", "default"]], "k")
    rows = list(csv.DictReader(io.StringIO(shell("dead-letters", "export", "--format", "csv").out)))
    assert {row["id"]: row["customer_id"] for row in rows}[IDS[0]] == "'=cust_1"
    assert {row["offset"] for row in rows} == {"1", "2", "3"}
    assert [row.keys() for row in rows] == [whole.keys()] * 3
    assert shell("dead-letters", "export", "--handler", "nobody").out == ""


HOSTILE = ["' OR 1=1 --", "%", "é\u202e", "x" * 3000, "\U0001f4a9"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_filters_find_nothing(letters: None, shell: Shell, text: str) -> None:
    for name in ("reason", "handler", "redemption", "customer", "tenant", "fingerprint"):
        assert told(shell, "dead-letters", "list", f"--{name}", text) == []
    assert shell("dead-letters", "replay", text, "--json").code == 1
    assert shell("dead-letters", "show", text).code == shell("jobs", "show", text).code == 1
    assert set(states(shell).values()) == {"open"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["replay", "a\x1b[2J"], "control"),
        (["list", "--customer", "\udcff"], "UTF-8"),
        (["replay", "--all", "--rate", "0"], "20/s"),
        (["replay", "--all", "--rate", "nan"], "20/s"),
        (["discard", "--all", "--state", "replayed", *REASON], "open"),
        (["discard", "--all", "--reason", "a\nb"], "control"),
        (["stats", "--state", "shut"], "all"),
    ],
    ids=ascii,
)
def test_what_cannot_be_meant_is_wrong_use(
    letters: None, shell: Shell, arguments: Sequence[str], complaint: str
) -> None:
    wrong_use(shell("dead-letters", *arguments), complaint)
    assert told(shell, "audit", "list") == []
