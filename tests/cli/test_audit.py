"""`redemptions audit`: what operators did, for people and for programs."""

import asyncio
import json
from pathlib import Path

import pytest

from events.runtime import SystemRuntime
from storage.audit import Deed, announce, audited
from storage.connect import connect
from storage.upgrade import upgrade
from tests.cli.conftest import Shell

NAMES = {
    "key", "at", "who", "action", "tenant", "subject", "reason", "what", "outcome",
    "counts", "error", "ended_at",
}  # fmt: skip


@pytest.fixture
def deeds(tmp_path: Path) -> None:
    """Two deeds: one done, by somebody with a hostile reason; one that was begun and never ended."""

    async def fill() -> None:
        (tmp_path / ".redemptions").mkdir()
        database = connect(f"sqlite:///{tmp_path}/.redemptions/store.db", SystemRuntime())
        await upgrade(database)
        done = Deed("k1", "ada", "dead-letters discard", {"handler": "loyalty"}, "spam\x1b[2J")
        async with audited(database, done) as counts:
            counts["discarded"] = 7
        await announce(database, Deed("k2", "bob", "ledger restate", {}))
        await database.close()

    asyncio.run(fill())


def test_deeds_are_listed_with_the_documented_names(deeds: None, shell: Shell) -> None:
    listed = {deed["key"]: deed for deed in json.loads(shell("audit", "list", "--json").out)}
    assert listed["k1"].keys() == NAMES
    assert (listed["k1"]["outcome"], listed["k1"]["counts"]) == ("done", {"discarded": 7})
    assert listed["k1"]["at"].endswith("Z")
    assert (listed["k2"]["outcome"], listed["k2"]["ended_at"]) == (None, None)


def test_people_see_who_did_what_and_no_control_character(deeds: None, shell: Shell) -> None:
    (line,) = shell("audit", "list", "--who", "ada").out.splitlines()
    assert "ada  dead-letters discard  handler=loyalty  (spam\\x1b[2J)  done  discarded=7" in line
    assert "no result" in shell("audit", "list", "--action", "ledger restate").out


@pytest.mark.parametrize("hostile", ["a\x1bb", "\udcff", "a\nb"], ids=ascii)
def test_a_filter_that_no_database_takes_is_wrong_use(deeds: None, shell: Shell, hostile: str) -> None:
    ended = shell("audit", "list", "--who", hostile)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
