"""`dead-letters`: listed with filters, shown without driving the terminal, replayed on request."""

import json
from typing import Any

import pytest

from tests.cli.filled import BODIES, REFUSED
from tests.end_to_end.processes import Site
from tests.end_to_end.traffic import Sender

NAMES = {
    "id", "state", "reason", "handler", "redemption_id", "customer_id", "error", "attempts", "replays",
    "topic", "partition", "offset", "first_seen", "last_seen",
}  # fmt: skip


def listed(site: Site, *filters: str) -> list[dict[str, Any]]:
    letters: list[dict[str, Any]] = site.told("dead-letters", "list", *filters)
    return letters


def test_a_letter_has_the_documented_names(filled: Site) -> None:
    letters = {letter["handler"]: letter for letter in listed(filled)}
    assert letters.keys() == {None, "loyalty"}
    for letter in letters.values():
        assert letter.keys() == NAMES
        assert (letter["state"], letter["topic"], letter["replays"]) == ("open", "redemptions.events", 0)
    assert letters["loyalty"]["redemption_id"] == REFUSED
    assert letters["loyalty"]["customer_id"] == "cust_refused"
    assert letters["loyalty"]["reason"] == "unfit_amount"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--handler", "loyalty"], 1),
        (["--reason", "not_json"], 1),
        (["--redemption", REFUSED, "--customer", "cust_refused"], 1),
        (["--redemption", "r_unknown"], 0),
        (["--state", "replayed"], 0),
        (["--state", "all", "--since", "2024-01-01"], 2),
        (["--until", "2024-01-01"], 0),
        (["--tenant", "another"], 0),
        (["--limit", "1"], 1),
        (["--handler", "-"], 1),
        (["--reason-code", "not_json"], 1),
        (["--fingerprint", "no-such-group"], 0),
        (["--customer", "' OR 1 = 1 --"], 0),
    ],
    ids=str,
)
def test_filters(filled: Site, filters: list[str], found: int) -> None:
    assert len(listed(filled, *filters)) == found


def test_a_letter_is_shown_with_its_raw_body(filled: Site) -> None:
    (torn,) = listed(filled, "--reason", "not_json")
    shown = filled.told("dead-letters", "show", torn["id"])
    assert shown["id"] == torn["id"]
    assert ["tenant", "default"] in shown["headers"]
    assert filled.ask("dead-letters", "show", "no-such-id").code == 1


def test_nothing_from_a_payload_reaches_the_terminal_raw(filled: Site) -> None:
    (torn,) = listed(filled, "--reason", "not_json")
    for question in (["list"], ["show", torn["id"]], ["show", torn["id"], "--json"], ["list", "--json"]):
        answer = filled.ask("dead-letters", *question)
        assert not {"\x1b", "\x07"} & set(answer.out + answer.err), question


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["list", "--state", "closed"], "open, replayed, discarded, all"),
        (["replay"], "--all"),
        (["list", "--since", "yesterday"], "--since"),
    ],
    ids=str,
)
def test_wrong_use_is_told_in_one_line_and_ends_with_2(
    filled: Site, arguments: list[str], complaint: str
) -> None:
    answer = filled.ask("dead-letters", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert complaint in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_replay_of_many_wants_to_be_asked_for_and_reopens_what_fails_again(site: Site) -> None:
    site.start("run").wait_ready()
    Sender(site.url, at_once=1).send(BODIES)
    site.wait_idle()
    would = site.told("dead-letters", "replay", "--all", "--dry-run")
    assert (would["matched"], would["replayed"], would["dry_run"]) == (2, 0, True)
    assert would["handlers"] == {"loyalty": 1, "-": 1}
    assert (would["unreadable"], would["ledger"]["refused"]) == ({"not_json": 1}, {"unfit_amount": 1})
    assert site.told("jobs", "list") == []
    assert site.ask("dead-letters", "replay", "--tenant", "default").code == 2

    answer = site.ask("dead-letters", "replay", "--handler", "loyalty", "--json")
    assert (answer.code, json.loads(answer.out)["replayed"]) == (0, 1)
    site.wait_idle()
    (again,) = listed(site, "--handler", "loyalty")
    assert (again["state"], again["replays"]) == ("open", 1)
    assert site.ask("dead-letters", "replay", "no-such-id").code == 1
    shown = site.told("dead-letters", "show", again["id"])
    assert [(each["event"], each["generation"]) for each in shown["history"]] == [
        ("died", 0),
        ("replayed", 1),
        ("died", 1),
    ]
