"""`redemptions handlers`: what stands still is seen, audited, and named right."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from events.runtime import SystemRuntime
from storage.connect import connect
from storage.effects import Mark, insert_effects
from storage.schema import State
from storage.upgrade import upgrade
from tests.cli.conftest import Shell

NAMES = {"name", "type", "state", "by", "since", "reason", "pending", "dead"}


@pytest.fixture
def database(tmp_path: Path) -> None:
    """A database with a handler of former days that left a pending and a dead effect."""

    async def fill() -> None:
        (tmp_path / ".redemptions").mkdir()
        database = connect(f"sqlite:///{tmp_path}/.redemptions/store.db", SystemRuntime())
        await upgrade(database)
        async with database.transaction() as transaction:
            await transaction.learn(["default", "former"])
            number = transaction.names.id("former")
            tenant = transaction.names.id("default")
            await insert_effects(
                transaction,
                {
                    Mark(tenant, "r_1", number, 0): State.PENDING,
                    Mark(tenant, "r_2", number, 0): State.DEAD,
                    Mark(tenant, "r_3", number, 0): State.DONE,
                },
            )
        await database.close()

    asyncio.run(fill())


def listed(shell: Shell) -> dict[str, dict[str, Any]]:
    ended = shell("handlers", "list", "--json")
    assert ended.code == 0
    return {each["name"]: each for each in json.loads(ended.out)}


def test_every_handler_is_listed_with_its_type_and_counts(database: None, shell: Shell) -> None:
    found = listed(shell)
    assert all(each.keys() == NAMES for each in found.values())
    assert {name: each["type"] for name, each in found.items()} == {
        "decoding": "decoding",
        "loyalty": "transactional",
        "record": "transactional",
        "notifications": "effect",
        "dead-letter-topic": "effect",
        "former": None,
    }
    assert {each["state"] for each in found.values()} == {"running"}
    assert (found["former"]["pending"], found["former"]["dead"]) == (1, 1)
    assert "former" in shell("handlers", "list").out


def test_a_pause_is_stored_told_and_audited_and_a_resume_ends_it(database: None, shell: Shell) -> None:
    ended = shell("handlers", "pause", "loyalty", "--reason", "new policy", "--json")
    assert json.loads(ended.out)["changed"] is True
    state = listed(shell)["loyalty"]
    assert (state["state"], state["reason"]) == ("paused", "new policy")
    assert state["by"]
    assert state["since"].endswith("Z")
    again = shell("handlers", "pause", "loyalty")
    assert (again.code, again.out.startswith("loyalty: was already paused by ")) == (0, True)
    assert shell("handlers", "resume", "loyalty").out == "loyalty: running\n"
    assert listed(shell)["loyalty"]["state"] == "running"
    assert shell("handlers", "resume", "loyalty").out == "loyalty: was already running\n"
    deeds = json.loads(shell("audit", "list", "--json").out)
    told = [(deed["action"], deed["subject"], deed["counts"]["changed"]) for deed in reversed(deeds)]
    assert told == [
        ("handlers pause", "loyalty", 1),
        ("handlers pause", "loyalty", 0),
        ("handlers resume", "loyalty", 1),
        ("handlers resume", "loyalty", 0),
    ]
    assert deeds[-1]["reason"] == "new policy"


def test_a_resume_may_accept_that_some_die(database: None, shell: Shell) -> None:
    shell("handlers", "pause", "loyalty")
    ended = shell("handlers", "resume", "loyalty", "--accept", "30")
    assert ended.out == "loyalty: running; 30 may die before the guard counts\n"


def test_a_slip_is_no_handler_but_one_that_left_effects_is(database: None, shell: Shell) -> None:
    for command in ("pause", "resume"):
        ended = shell("handlers", command, "loyality")
        assert (ended.code, ended.out) == (2, "")
        assert "did you mean loyalty?" in ended.err
    assert shell("handlers", "pause", "former").code == 0


def test_a_handler_that_cannot_be_loaded_can_be_resumed(
    database: None, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("handlers", "pause", "former")
    monkeypatch.setenv("REDEMPTIONS_HANDLERS", "no_such_module:Former")
    ended = shell("handlers", "resume", "former")
    assert (ended.code, ended.out) == (0, "former: running\n")
    assert "no_such_module" in ended.err
