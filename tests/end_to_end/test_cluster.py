"""Two workers in one group on real Kafka and PostgreSQL, while processes and servers come and go."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.end_to_end.postgres import OwnPostgres
from tests.end_to_end.processes import Running, Site, until
from tests.end_to_end.promises import assert_all_is_right
from tests.end_to_end.traffic import Sender, Traffic, in_all_shapes, traffic
from tests.events.payloads import CUSTOMER, a_rollback, a_success
from tests.services.kafka import Kafka

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]


def started(site: Site, workers: int = 2) -> list[Running]:
    """A door and its workers, all ready; the workers."""
    door = site.start("ingress")
    running = [site.start("worker", instance_id=f"worker-{number}") for number in range(workers)]
    for each in (door, *running):
        each.wait_ready()
    return running


@contextmanager
def under_load(site: Site, load: Traffic) -> Iterator[Sender]:
    """In the block the load is being sent; after it, all of it was accepted."""
    sender = Sender(site.url)
    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(sender.send, load.bodies)
        yield sender
        sending.result()


def share_accepted(sender: Sender, load: Traffic, share: float) -> None:
    until(lambda: sender.accepted >= share * len(load.bodies), f"{share:.0%} are accepted", 60)


def test_the_documented_example_on_kafka_and_postgresql(cluster: Site) -> None:
    started(cluster)
    Sender(cluster.url).send(in_all_shapes(a_success()) * 3)
    cluster.wait_idle()
    assert cluster.told("ledger", "balance", CUSTOMER)["points"] == 103
    Sender(cluster.url).send(in_all_shapes(a_rollback(), "rollback.succeeded"))
    cluster.wait_idle()
    assert cluster.told("ledger", "balance", CUSTOMER)["points"] == 0
    assert [entry["points"] for entry in cluster.told("ledger", "entries")] == [103, -103]


def test_workers_killed_and_stopped_under_load_lose_nothing_and_do_nothing_twice(cluster: Site) -> None:
    load = traffic(300, seed=2)
    first, second = started(cluster)
    with under_load(cluster, load) as sender:
        share_accepted(sender, load, 0.2)
        first.kill()
        share_accepted(sender, load, 0.4)
        first = cluster.start("worker", instance_id="worker-0").wait_ready()
        share_accepted(sender, load, 0.6)
        assert second.stop() == 0, second.err
        share_accepted(sender, load, 0.8)
        second = cluster.start("worker", instance_id="worker-1").wait_ready()
    assert set(sender.answers) == {202}
    assert_all_is_right(cluster, load)


def test_a_member_without_a_name_that_was_killed_is_replaced(cluster: Site) -> None:
    cluster.start("ingress").wait_ready()
    first, _ = [cluster.start("worker").wait_ready() for _ in range(2)]
    load = traffic(60, seed=3)
    with under_load(cluster, load) as sender:
        share_accepted(sender, load, 0.3)
        first.kill()
    assert_all_is_right(cluster, load)


def test_a_frozen_worker_that_comes_back_does_nothing_twice(cluster: Site) -> None:
    load = traffic(150, seed=4)
    frozen, other = started(cluster)
    with under_load(cluster, load) as sender:
        share_accepted(sender, load, 0.3)
        frozen.send(signal.SIGSTOP)
        # Longer than the session time-out: the group goes on without it.
        until(lambda: len(other.err.split(" assigned ")) > 2, "the other has taken over", 60)
        share_accepted(sender, load, 1)
        frozen.send(signal.SIGCONT)
    assert_all_is_right(cluster, load)
    frozen.wait_ready()


def test_while_the_broker_is_away_the_door_says_503_and_all_it_accepted_is_processed(
    cluster: Site, end_to_end_kafka: Kafka
) -> None:
    load = traffic(150, seed=5)
    workers = started(cluster)
    with under_load(cluster, load) as sender:
        share_accepted(sender, load, 0.3)
        end_to_end_kafka.kill()
        until(lambda: 503 in sender.answers, "the door says that it cannot store")
        assert [each.probe("live") for each in workers] == [200, 200]
        end_to_end_kafka.start()
    assert set(sender.answers) == {202, 503}
    assert not sender.without_retry_after
    assert_all_is_right(cluster, load)
    for each in workers:
        each.wait_ready()


def test_while_the_database_is_away_workers_wait_and_then_go_on(
    cluster: Site, own_postgres: OwnPostgres
) -> None:
    load = traffic(150, seed=6)
    workers = started(cluster)
    with under_load(cluster, load) as sender:
        share_accepted(sender, load, 0.3)
        own_postgres.stop()
        share_accepted(sender, load, 0.7)
        for each in workers:
            until(lambda: each.probe("ready") == 503, "a worker says that it waits")  # noqa: B023
            assert each.probe("live") == 200
        with ThreadPoolExecutor(1) as beside:
            waiting = beside.submit(cluster.wait_idle)  # a question that waits outlasts it too
            own_postgres.start()
            waiting.result()
    assert set(sender.answers) == {202}
    for each in workers:
        each.wait_ready()
    assert_all_is_right(cluster, load)


@pytest.mark.parametrize("traffic_flows", [True, False], ids=["in traffic", "in silence"])
def test_an_older_database_put_in_place_of_the_newer_one_catches_up_by_itself(
    cluster: Site, own_postgres: OwnPostgres, traffic_flows: bool
) -> None:
    load, name = traffic(90, seed=7), cluster.setting("consumer_group")  # the database's name as well
    third = len(load.bodies) // 3
    workers = started(cluster)
    Sender(cluster.url).send(load.bodies[:third])
    cluster.wait_idle()
    own_postgres.copy(name, f"{name}_earlier")
    after_the_copy = load.bodies[third:] if not traffic_flows else load.bodies[third : 2 * third]
    Sender(cluster.url).send(after_the_copy)
    cluster.wait_idle()
    rest = load._replace(bodies=load.bodies[2 * third :] if traffic_flows else [])
    with under_load(cluster, rest) as sender:
        share_accepted(sender, rest, 0.3)
        own_postgres.restore(f"{name}_earlier", name)
    until(lambda: cluster.balances() == load.balances, "the ledger has caught up", 90)
    assert_all_is_right(cluster, load)
    assert not any(each.has_ended() for each in workers)
