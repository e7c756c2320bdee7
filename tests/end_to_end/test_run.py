"""`redemptions run` from outside: the embedded log and SQLite, through crashes and hand-overs."""

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from threading import Event

import pytest

from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.processes import Site, until
from tests.end_to_end.promises import assert_all_is_right
from tests.end_to_end.traffic import Sender, in_all_shapes, sale, traffic, undone
from tests.events.payloads import CUSTOMER, a_rollback, a_success

SUCCESSES = in_all_shapes(a_success())
ROLLBACKS = in_all_shapes(a_rollback(), "rollback.succeeded")


def points(site: Site, customer: str = CUSTOMER) -> int:
    answer: int = site.told("ledger", "balance", customer)["points"]
    return answer


def test_the_documented_example_in_all_its_shapes_earns_its_points_once(site: Site) -> None:
    site.start("run").wait_ready()
    Sender(site.url).send(SUCCESSES * 3)
    site.wait_idle()
    assert points(site) == 103
    assert [entry["points"] for entry in site.told("ledger", "entries")] == [103]

    Sender(site.url).send(ROLLBACKS)
    site.wait_idle()
    assert points(site) == 0
    assert site.told("ledger", "verify") == []
    assert site.told("dead-letters", "list") == []


def test_the_order_of_arrival_does_not_matter(site: Site) -> None:
    site.start("run").wait_ready()
    orders = list(permutations(range(3)))
    for number, order in enumerate(orders):
        one, other = f"r_order{number}kept", f"r_order{number}undone"
        customer = f"cust_order{number}"
        told = [
            in_all_shapes(sale(one, customer))[0],
            in_all_shapes(sale(other, customer))[1],
            in_all_shapes(undone(other, customer), "rollback.succeeded")[2],
        ]
        for place in order:
            Sender(site.url, at_once=1).send([told[place]])
    site.wait_idle()
    assert site.balances() == {f"cust_order{number}": 103 for number in range(len(orders))}


def test_killed_under_load_it_loses_nothing_and_does_nothing_twice(site: Site) -> None:
    load = traffic(240, seed=1)
    sender = Sender(site.url)
    running = site.start("run").wait_ready()
    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(sender.send, load.bodies)
        for quarter in (1, 2, 3):
            until(lambda: 4 * sender.accepted > quarter * len(load.bodies), "some are accepted")  # noqa: B023
            running.kill()
            running = site.start("run").wait_ready()
        sending.result()
    site.wait_idle()
    assert set(sender.answers) <= {202, 503, 0}
    assert_all_is_right(site, load)


def test_what_was_accepted_before_a_kill_has_its_effect_without_being_sent_again(site: Site) -> None:
    load = [in_all_shapes(sale(f"r_kept{number}", f"cust_kept{number}"))[0] for number in range(300)]
    sender, dead = Sender(site.url), Event()
    running = site.start("run").wait_ready()
    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(sender.send, load, dead)
        until(lambda: sender.accepted > 60, "some are accepted")
        running.kill()
        dead.set()
        sending.result()
    site.start("run").wait_ready()
    site.wait_idle()
    assert len(site.balances()) >= sender.accepted


def test_a_second_worker_stands_by_and_takes_over_from_one_that_was_killed(site: Site) -> None:
    site.ask("db", "upgrade")
    site.start("ingress").wait_ready()
    first = site.start("worker").wait_ready()
    second = site.start("worker").wait_ready()
    Sender(site.url).send(SUCCESSES)
    site.wait_idle()
    assert "batch_settled" in first.err
    assert "batch_settled" not in second.err

    first.kill()
    Sender(site.url).send(ROLLBACKS)
    site.wait_idle()
    assert "batch_settled" in second.err
    assert points(site) == 0
    assert second.stop() == 0


@pytest.mark.parametrize("command", ["run", "ingress", "worker"])
def test_sigterm_ends_it_with_exit_code_0_and_all_committed(make_site: MakeSite, command: str) -> None:
    site = make_site()
    site.ask("db", "upgrade")
    running = site.start(command).wait_ready()
    if command == "run":
        Sender(site.url).send(SUCCESSES)
    assert running.stop() == 0, running.err
    assert running.err.rstrip().endswith("stopped")
    if command == "run":
        site.start("run").wait_ready()
        site.wait_idle()
        assert points(site) == 103
