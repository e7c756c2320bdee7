"""A customer erased beside a running deployment: replay, backfill and a late delivery bring nothing back."""

import json

import pytest

from tests.end_to_end.processes import Answer, Site
from tests.end_to_end.traffic import Sender, sale
from tests.events.payloads import body

ERASED = ("--customer", "cust_gone")
LOG = [
    "embedded",
    pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]),
]


def refused(redemption: str, customer: str) -> bytes:
    return body(sale(redemption, customer) | {"order": {"total_amount": 10.5}, "wallet": {"owner": "Anna"}})


def backfill(site: Site) -> Answer:
    settings = {"handlers": "tests.end_to_end.outside:Outside", "OUTSIDE_CALLS": site.directory / "calls"}
    return site.ask_with(settings, "backfill", "--handler", "outside", "--from", "2020-01-01", "--json")


@pytest.mark.parametrize("log", LOG)
def test_nothing_comes_back(request: pytest.FixtureRequest, log: str) -> None:
    site: Site = request.getfixturevalue("site" if log == "embedded" else "cluster")
    running = [site.start(command) for command in (["run"] if log == "embedded" else ["ingress", "worker"])]
    for each in running:
        each.wait_ready()
    bodies = [body(sale("r_gone", "cust_gone")), body(sale("r_kept", "cust_kept"))]
    Sender(site.url).send([*bodies, refused("r_refused", "cust_gone")])
    site.wait_idle()
    (letter,) = site.told("dead-letters", "list", *ERASED)

    tables = {row["table"] for row in site.told("export", *ERASED)}
    assert tables == {"balances", "entries", "facts", "effects", "dead_letters"}
    assert "Anna" in site.ask("export", *ERASED).out
    assert site.ask("erase", *ERASED).code == 2  # nobody has said yes
    answer = site.told("erase", *ERASED, "--yes")
    assert (answer["customer_id"], answer["letters"], answer["records"]) == ("cust_gone", 1, 0)
    assert "Anna" not in site.ask("export", *ERASED).out

    assert site.told("dead-letters", "list", *ERASED) == []
    assert site.told("dead-letters", "show", letter["id"])["body"] == ""
    tried = site.told("dead-letters", "replay", letter["id"])
    assert (tried["replayed"], tried["passed_over"]) == (0, 1)
    assert site.told("prune", "--older-than", "0", "--dry-run")["letters"] == 1
    assert site.told("prune", "--older-than", "0")["letters"] == 1
    assert site.ask("dead-letters", "show", letter["id"]).code == 1
    filled = backfill(site)
    assert filled.code == 0, filled
    assert (site.directory / "calls").read_text().split() == ["outside:default:succeeded:r_kept"]
    Sender(site.url).send([refused("r_refused", "cust_gone"), *bodies])  # a resend: only the date is old
    site.wait_idle()
    assert "Anna" not in site.ask("export", *ERASED).out
    (skipped,) = (each for each in site.told("effects", "show", "r_gone") if each["handler"] == "outside")
    assert (skipped["state"], skipped["last_error"]) == ("skipped", "erased")

    assert site.balances()["cust_gone"] == site.balances()["cust_kept"] > 0
    assert site.told("ledger", "verify") == []
    (deed,) = (deed for deed in site.told("audit", "list") if deed["action"] == "erase")
    assert (deed["subject"], deed["outcome"]) == ("cust_gone", "done")
    for each in running:
        assert each.stop() == 0


def test_wrong_use_is_told(site: Site) -> None:
    assert site.ask("erase", "--yes").code == 2
    assert site.ask("erase", "--customer", "x" * 256, "--yes").code == 2


def test_a_hostile_id_is_one_customer_and_cannot_write_to_the_terminal(site: Site) -> None:
    hostile, near = "a\"b'; -- %\u202egnp\\ü", "a\"b'; -- x\u202egnp\\ü"
    running = site.start("run").wait_ready()
    bodies = [refused(redemption, "cust_x") for redemption in ("r_hostile", "r_near")]
    ids = [json.dumps(id).encode() for id in (hostile, near)]
    Sender(site.url).send([one.replace(b'"cust_x"', id) for one, id in zip(bodies, ids, strict=True)])
    site.wait_idle()
    answer = site.ask("erase", "--customer", hostile, "--yes")
    assert (answer.code, "1 dead letters" in answer.out) == (0, True), answer
    assert "\u202e" not in answer.out + answer.err
    assert site.told("erase", "--customer", hostile, "--yes")["customer_id"] == hostile
    assert "Anna" not in site.ask("export", "--customer", hostile).out
    assert "Anna" in site.ask("export", "--customer", near).out
    assert [letter["redemption_id"] for letter in site.told("dead-letters", "list")] == ["r_near"]
    assert running.stop() == 0
