"""Ten thousand letters replayed by a job whose runners are paused and killed: each is handled once."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from broker.protocols import Record
from consumer.item import read_item
from consumer.letters import letter_of
from events.failures import Refused
from events.runtime import SystemRuntime
from storage.connect import connect
from storage.database import Database, Transaction
from storage.dead_letters import Letter, store_letters
from storage.effects import Mark, insert_effects
from storage.schema import State
from tests.end_to_end.arming import Kill
from tests.end_to_end.processes import Site, until
from tests.end_to_end.traffic import sale
from tests.events.payloads import body

pytestmark = pytest.mark.timeout(400)
COUNT = 10_000
HANDLER = "outside"


def in_database(site: Site, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
    async def done() -> Any:
        database: Database = connect(url_of(site), SystemRuntime())
        try:
            async with database.transaction() as transaction:
                return await work(transaction)
        finally:
            await database.close()

    return asyncio.run(done())


def url_of(site: Site) -> str:
    try:
        return site.setting("database_url")
    except KeyError:
        return f"sqlite:///{site.data_dir / 'store.db'}"


def a_letter(number: int, group: str) -> Letter:
    raw = body(sale(f"r_{number}", f"cust_{number}"))
    record = Record("events", 0, number, 1_700_000_000_000, None, raw, (("tenant", b"default"),))
    return letter_of(read_item(record, group), group, HANDLER, Refused("gone", "the provider is gone"), 4)


async def bury_many(transaction: Transaction, group: str) -> None:
    """As a provider's worst night would leave it: effects that are dead, and their letters."""
    letters = [a_letter(number, group) for number in range(1, COUNT + 1)]
    await transaction.learn({"default", HANDLER})
    tenant, handler = transaction.names.id("default"), transaction.names.id(HANDLER)
    marks = [Mark(tenant, letter.redemption_id or "", handler, 0) for letter in letters]
    await insert_effects(transaction, dict.fromkeys(marks, State.DEAD))
    await store_letters(transaction, letters)


async def let_leases_expire(transaction: Transaction) -> None:
    """Rather than wait for half a minute."""
    await transaction.run("UPDATE jobs SET leased_until = 0 WHERE leased_until IS NOT NULL")


def replayed_by_many(site: Site, group: str, *serve: str) -> None:
    """The whole story, on any database and log."""
    calls: Path = site.directory / "calls"
    calls.touch()
    site.set(handlers="tests.end_to_end.outside:Hurried", OUTSIDE_CALLS=calls)
    in_database(site, lambda transaction: bury_many(transaction, group))
    site.start(*serve).wait_ready()

    # Killed with records in the log whose letters are not marked yet.
    killed = site.ask("dead-letters", "replay", "--all", kill=Kill("consumer.replay:publish", "after", 12))
    assert killed.code == -9, killed
    (job,) = site.told("jobs", "list")
    assert (job["state"], job["total"], job["leased"]) == ("running", COUNT, True)
    assert 0 < job["settled"] < COUNT
    assert site.ask("jobs", "pause", job["id"]).code == 0
    site.wait_idle(200)
    paused = site.told("jobs", "show", job["id"])
    assert (paused["state"], paused["settled"]) == ("paused", job["settled"])
    reached = len(set(calls.read_text().split()))
    assert job["settled"] <= reached < COUNT

    # Gone on with, and killed again while it stores what it has done.
    in_database(site, let_leases_expire)
    again = site.ask("jobs", "resume", job["id"], kill=Kill("storage.jobs:settle_items", "after", 9))
    assert again.code == -9, again
    in_database(site, let_leases_expire)

    # The worker takes it over by itself.
    site.wait_idle(300)
    shown = site.told("jobs", "show", job["id"])
    assert (shown["state"], shown["counts"]["replayed"], shown["counts"]["died_again"]) == ("done", COUNT, 0)
    assert Counter(calls.read_text().split()) == {
        f"{HANDLER}:default:succeeded:r_{number}": 1 for number in range(1, COUNT + 1)
    }
    status = site.told("status")
    assert status["dead_letters"] == {"open": 0, "replayed": COUNT, "discarded": 0}
    assert (status["effects"]["done"], status["effects"]["dead"]) == (COUNT, 0)
    deeds = [(deed["action"], deed["outcome"]) for deed in site.told("audit", "list")]
    assert deeds == [("jobs resume", "done"), ("jobs pause", "done"), ("dead-letters replay", "done")]
    exported = site.ask("dead-letters", "export", "--state", "replayed").out.splitlines()
    assert len({json.loads(line)["id"] for line in exported}) == COUNT


def test_on_one_machine(site: Site) -> None:
    site.data_dir.mkdir()
    assert site.ask("db", "upgrade").code == 0
    replayed_by_many(site, "redemptions", "run")


def test_ctrl_c_pauses(site: Site) -> None:
    site.data_dir.mkdir()
    assert site.ask("db", "upgrade").code == 0
    in_database(site, lambda transaction: bury_many(transaction, "redemptions"))
    replay = site.start("dead-letters", "replay", "--all", "--rate", "1/s")
    until(lambda: [job for job in site.told("jobs", "list") if job["settled"]], "a letter is replayed")
    replay.send(signal.SIGINT)
    assert replay.wait_end() == 130
    (job,) = site.told("jobs", "list")
    assert (job["state"], job["leased"]) == ("paused", False)
    assert f"jobs resume {job['id']}" in replay.err
    assert [deed["action"] for deed in site.told("audit", "list")] == ["jobs pause", "dead-letters replay"]


@pytest.mark.kafka
@pytest.mark.postgres
def test_on_kafka_and_postgresql(cluster: Site) -> None:
    replayed_by_many(cluster, cluster.setting("consumer_group"), "worker")
