"""Killed between any two steps: nothing lost, nothing twice, whatever the step."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from storage.schema import KINDS, State
from tests.end_to_end.arming import Kill
from tests.end_to_end.nursery import Nursery
from tests.end_to_end.outside import FLAKY, UNWANTED
from tests.end_to_end.processes import Site
from tests.end_to_end.traffic import Sender, in_all_shapes, sale, undone
from tests.events.payloads import body

HANDLER = "tests.end_to_end.outside:Outside"
KEPT, UNDONE, UNDONE_FIRST, REFUSED = "r_kept", "r_undone", "r_undonefirst", "r_refused"
BALANCES = {"cust_kept": 103, FLAKY: 103, UNWANTED: 103}
LETTERS = {(None, None), ("loyalty", REFUSED), ("outside", "r_unwanted")}
KEYS = {
    f"outside:default:{kind}:{redemption}"
    for kind, redemptions in (
        ("succeeded", (KEPT, UNDONE, UNDONE_FIRST, REFUSED, "r_unwanted", "r_flaky")),
        ("rolled_back", (UNDONE, UNDONE_FIRST)),
    )
    for redemption in redemptions
}
BODIES = [
    *in_all_shapes(sale(KEPT, "cust_kept")),
    body(sale(UNDONE, "cust_undone")),
    *in_all_shapes(undone(UNDONE, "cust_undone"), "rollback.succeeded"),
    body(undone(UNDONE_FIRST, "cust_undone")),
    *in_all_shapes(sale(UNDONE_FIRST, "cust_undone")),
    body(sale(REFUSED, "cust_refused") | {"order": {"total_amount": 10.5}}),
    body(sale("r_unwanted", UNWANTED)),
    body(sale("r_flaky", FLAKY)),
    b'{"torn',
]

START = [
    Kill("storage.upgrade:upgrade"),
    Kill("alembic.command:upgrade", "after"),
    Kill("storage.upgrade:upgrade", "after"),
    Kill("broker.embedded:EmbeddedProducer.start", "after"),
    Kill("broker.embedded:EmbeddedConsumer.start", "after"),
    Kill("broker.embedded:EmbeddedConsumer.seek"),
]
BATCH = [
    Kill("consumer.item:read_item"),
    Kill("consumer.item:read_item", "after", call=8),
    Kill("consumer.batch:Batch.settle"),
    Kill("storage.effects:insert_effects", "after"),
    Kill("handlers.loyalty.handler:Loyalty.apply"),
    Kill("handlers.loyalty.handler:Loyalty.apply", "after"),
    Kill("storage.bundles:store_bundle"),
    Kill("storage.dead_letters:store_letters"),
    Kill("storage.dead_letters:store_letters", "after"),
    Kill("storage.positions:store_positions"),
    Kill("consumer.batch:Batch.settle", "after"),
    Kill("consumer.settler:Settler._try", "after"),
    Kill("consumer.settler:Settler.settle", "after"),
    Kill("broker.embedded:EmbeddedConsumer.commit"),
    Kill("broker.embedded:EmbeddedConsumer.commit", "after"),
]
DELIVERY = [
    *(Kill("storage.leases:lease_due", "after", call) for call in (1, 3)),
    Kill("consumer.work:EventWork.load", "after"),
    *(Kill("consumer.work:EventWork.run", "before", call) for call in (1, 4)),
    *(Kill("tests.end_to_end.outside:_remember", "after", call) for call in (1, 8)),
    Kill("consumer.work:EventWork.run", "after"),
    *(
        Kill("storage.leases:store_results", moment, call)
        for call in (2, 5)
        for moment in ("before", "after")
    ),
    Kill("consumer.work:EventWork.bury"),
    Kill("consumer.work:EventWork.bury", "after"),
    Kill("storage.bundles:release_bundles", "after", 2),
    Kill("consumer.work:LetterWork.run"),
    *(Kill("consumer.work:LetterWork.run", "after", call) for call in (1, 2)),
]
DOOR = [
    *(Kill("broker.embedded:EmbeddedProducer.append", "before", call) for call in (1, 5)),
    *(Kill("broker.embedded:EmbeddedProducer.append", "after", call) for call in (1, 5)),
    Kill("broker.embedded_records:append", "after", 3),
]


@pytest.fixture(scope="module")
def loaded(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data dir whose log has taken all the bodies, none of them processed yet."""
    site = Site(tmp_path_factory.mktemp("loaded"), nursery)
    door = site.start("ingress")
    Sender(site.url, at_once=1).send(BODIES)
    door.stop()
    yield site.data_dir
    site.close()


@pytest.fixture
def site(site: Site) -> Site:
    site.set(handlers=HANDLER, OUTSIDE_CALLS=site.directory / "calls")
    return site


@pytest.mark.parametrize("kill", [*START, *BATCH, *DELIVERY], ids=str)
def test_killed_at_this_step_it_loses_nothing_and_does_nothing_twice(
    site: Site, loaded: Path, kill: Kill
) -> None:
    shutil.copytree(loaded, site.data_dir)
    assert site.start("run", kill=kill).wait_end() == -9, "the step was never reached"
    called, unsettled = calls(site), unsettled_keys(site)
    site.start("run")
    Sender(site.url).send(BODIES)
    assert_all_is_right(site)
    assert_called_again_only_where_the_outcome_was_unknown(site, called, unsettled)


@pytest.mark.parametrize("kill", DOOR, ids=str)
def test_killed_between_append_and_answer_the_sender_sends_again_and_it_counts_once(
    site: Site, kill: Kill
) -> None:
    sender = Sender(site.url, at_once=1)
    running = site.start("run", kill=kill).wait_ready()
    for sent in BODIES:
        if running.has_ended():
            break
        sender.send_once(sent)
    assert running.wait_end() == -9
    site.start("run")
    sender.send(BODIES)
    assert_all_is_right(site)


@pytest.mark.parametrize(
    "kill",
    [
        Kill("broker.embedded:EmbeddedProducer.append"),
        Kill("broker.embedded:EmbeddedProducer.append", "after"),
        Kill("storage.letter_changes:mark_replayed"),
        Kill("storage.letter_changes:mark_replayed", "after"),
    ],
    ids=str,
)
def test_a_replay_that_was_killed_is_repeated_without_harm(site: Site, loaded: Path, kill: Kill) -> None:
    shutil.copytree(loaded, site.data_dir)
    site.start("run").wait_ready()
    site.wait_idle()
    assert site.ask("dead-letters", "replay", "--all", kill=kill).code == -9
    (job,) = site.told("jobs", "list")
    assert site.ask("jobs", "cancel", job["id"]).code == 0
    assert site.ask("dead-letters", "replay", "--all").code == 0
    assert_all_is_right(site)
    # Each was refused again by the one handler that had refused it, and the others were left alone.
    assert all(letter["replays"] for letter in site.told("dead-letters", "list"))
    assert {key for key, times in calls(site).items() if times > 1} == {
        "outside:default:succeeded:r_unwanted"
    }


def assert_all_is_right(site: Site) -> None:
    site.wait_idle()
    assert site.balances() == BALANCES
    assert site.told("ledger", "verify") == []
    letters = site.told("dead-letters", "list")
    assert {(letter["handler"], letter["redemption_id"]) for letter in letters} == LETTERS
    # A body that was sent twice is two records, and may have two letters. One record never has.
    origins = [(letter["handler"], letter["partition"], letter["offset"]) for letter in letters]
    assert len(set(origins)) == len(origins)
    assert calls(site).keys() == KEYS


def assert_called_again_only_where_the_outcome_was_unknown(
    site: Site, called: Counter[str], unsettled: set[str]
) -> None:
    for key, times in calls(site).items():
        most = called[key] + 1 if key in unsettled or not called[key] else 1
        assert called[key] <= 1
        assert times <= most, key


def calls(site: Site) -> Counter[str]:
    """How often each key was called."""
    file = site.directory / "calls"
    return Counter(file.read_text().split()) if file.exists() else Counter()


def unsettled_keys(site: Site) -> set[str]:
    """The keys whose effects the database does not know to be done or dead."""
    return KEYS - {f"outside:default:{kind}:{redemption}" for kind, redemption in settled(site)}


def settled(site: Site) -> list[tuple[str, str]]:
    question = (
        "SELECT effects.kind, redemption_id FROM effects JOIN names ON names.id = handler "
        "WHERE name = 'outside' AND state <> ?"
    )
    rows: list[Any] = []
    with closing(sqlite3.connect(site.data_dir / "store.db")) as database:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'effects'").fetchone():
            rows = database.execute(question, [State.PENDING]).fetchall()
    return [(KINDS[kind], redemption) for kind, redemption in rows]
