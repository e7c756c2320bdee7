"""A new handler over what the log holds, beside a running deployment: embedded, and on real servers."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.arming import Kill
from tests.end_to_end.processes import Answer, Site
from tests.end_to_end.traffic import Sender, sale
from tests.events.payloads import body

SALES = [f"r_fill{number}" for number in range(40)]
KEYS = {f"outside:default:succeeded:{redemption}" for redemption in SALES}
AT_ONCE = 4


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]),
    ]
)
def filled(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A deployment that has processed forty sales and an unreadable body, and still runs."""
    site: Site = request.getfixturevalue("site" if request.param == "embedded" else "cluster")
    commands = ["run"] if request.param == "embedded" else ["ingress", "worker"]
    running = [site.start(command) for command in commands]
    for each in running:
        each.wait_ready()
    bodies = [body(sale(redemption, f"cust_{redemption}")) for redemption in SALES]
    Sender(site.url).send([*bodies, b'{"torn'])
    site.wait_idle()
    yield site
    for each in running:
        assert each.stop() == 0


def fill(site: Site, *arguments: str, kill: Kill | None = None) -> Answer:
    settings = {"handlers": "tests.end_to_end.outside:Outside", "OUTSIDE_CALLS": site.directory / "calls"}
    return site.ask_with(settings, "backfill", "--handler", "outside", *arguments, kill=kill)


def test_a_killed_backfill_goes_on_and_every_event_is_called_for_once(filled: Site) -> None:
    killed = fill(
        filled, "--from", "2020-01-01", kill=Kill("consumer.settler:Settler.settle", "after", call=2)
    )
    assert killed.code == -9
    answer = fill(filled, "--from", "2020-01-01", "--json")
    assert answer.code == 0, answer
    told = answer.json
    assert (told["complete"], told["resumed"], told["halted"], told["pending"]) == (True, True, False, 0)
    assert told["log_begins"] is None
    calls = (filled.directory / "calls").read_text().splitlines()
    assert set(calls) == KEYS
    assert len(calls) <= len(KEYS) + AT_ONCE  # what was in flight when it was killed

    again = fill(filled, "--from", "2020-01-01", "--json")
    assert again.json["results"] == {"duplicate": len(SALES)}
    assert again.json["records"] == len(SALES) + 1
    assert (filled.directory / "calls").read_text().splitlines() == calls
    plain = fill(filled, "--from", "2020-01-01")
    assert (plain.code, plain.out) == (0, f"{len(SALES) + 1} records: {len(SALES)} duplicate\n")
    before = fill(filled, "--from", "2020-01-01", "--to", "2020-02-01", "--json")
    assert (before.code, before.json["records"]) == (0, 0)

    assert filled.told("status")["lag"] == 0
    assert len(filled.told("dead-letters", "list")) == 1
    deeds = [deed for deed in filled.told("audit", "list") if deed["action"] == "backfill"]
    assert [deed["outcome"] for deed in deeds] == ["done", "done", "done", "done", None]
    assert {deed["subject"] for deed in deeds} == {"outside"}


def test_wrong_use_is_told(site: Site) -> None:
    for arguments, complaint in (
        (("--from", "yesterday"), "ISO 8601"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "--from must be earlier"),
    ):
        answer = fill(site, *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert complaint in answer.err
    unknown = site.ask("backfill", "--handler", "outsied", "--from", "2026-01-01")
    assert (unknown.code, "no handler has the name outsied" in unknown.err) == (2, True)
