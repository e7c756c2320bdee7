"""A bad deployment, as those who operate it see it: halted, mended, resumed, and nothing lost or dead."""

from typing import Any

import pytest

from tests.end_to_end.arming import Kill
from tests.end_to_end.processes import Running, Site, until
from tests.end_to_end.traffic import Sender, sale
from tests.events.payloads import body


def states(site: Site) -> dict[str, Any]:
    return {each["name"]: each for each in site.told("handlers", "list")}


SALES = [body(sale(f"r_guard{number}", f"cust_{number}")) for number in range(60)]


@pytest.mark.parametrize(
    "servers",
    [
        "embedded",
        pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]),
    ],
)
def test_a_bad_deployment_halts_and_a_good_one_goes_on_once_it_is_resumed(
    request: pytest.FixtureRequest, servers: str
) -> None:
    site: Site = request.getfixturevalue("site" if servers == "embedded" else "cluster")
    site.set(handlers="tests.end_to_end.fragile:Fragile")
    door = site.start("ingress").wait_ready()
    if servers == "embedded":
        assert site.ask("db", "upgrade").code == 0
    Sender(site.url).send(SALES)

    def started(**settings: Any) -> Running:
        return site.start("worker", **settings)

    bad = started(FRAGILE_BROKEN=1)
    until(lambda: states(site)["fragile"]["state"] == "halted", "the guard has halted the handler")
    until(lambda: bad.probe("ready") == 503, "it is not ready")
    assert bad.probe("live") == 200
    assert "handler_halted" in bad.err
    assert 'redemptions_handler_standing{handler="fragile"} 2.0' in bad.metrics()
    state = states(site)["fragile"]
    assert (state["by"], state["type"]) == ("guard", "transactional")
    assert "AttributeError: a slip of the pen" in state["reason"]
    assert "redemptions handlers resume fragile" in site.ask("doctor").out
    assert bad.stop() == 0

    good = started()
    until(lambda: "handler_halted" in good.err, "the halt outlasts the deployment")
    assert site.told("dead-letters", "list") == []
    assert site.told("status")["lag"] == 60
    assert site.ask("handlers", "resume", "fragile").code == 0
    site.wait_idle()
    good.wait_ready()
    assert site.told("dead-letters", "list") == []
    effects = site.told("effects", "show", "r_guard7")
    assert {(each["handler"], each["state"]) for each in effects} == {
        ("fragile", "done"),
        ("loyalty", "done"),
    }
    assert good.stop() == door.stop() == 0


def test_a_bad_deployment_that_is_killed_again_and_again_does_not_creep_forward(site: Site) -> None:
    site.set(handlers="tests.end_to_end.fragile:Fragile")
    door = site.start("ingress").wait_ready()
    assert site.ask("db", "upgrade").code == 0
    Sender(site.url).send(SALES)
    for moment in ("before", "after"):
        kill = Kill("storage.handler_states:stop_handler", moment)
        assert site.start("worker", FRAGILE_BROKEN=1, kill=kill).wait_end() == -9
        assert states(site)["fragile"]["state"] == "running"
    kill = Kill("consumer.settler:Settler.settle", "after")
    assert site.start("worker", FRAGILE_BROKEN=1, kill=kill).wait_end() == -9
    bad = site.start("worker", FRAGILE_BROKEN=1)
    until(lambda: bad.probe("ready") == 503 and "handler_halted" in bad.err, "it stands still")
    assert bad.stop() == door.stop() == 0
    assert states(site)["fragile"]["state"] == "halted"
    assert site.told("dead-letters", "list") == []
    assert site.told("status")["lag"] == 60
