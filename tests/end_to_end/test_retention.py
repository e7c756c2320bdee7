"""Kafka's retention passes records that nobody has processed: the worker stops and says so."""

import asyncio
import signal

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from tests.end_to_end.processes import Running, Site, until
from tests.end_to_end.traffic import Sender, sale
from tests.events.payloads import body

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]


def delete_everything(site: Site) -> None:
    """As retention does, for now: all records up to the end of each partition."""

    topic = site.setting("events_topic")

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=site.setting("kafka_bootstrap_servers"))
        await admin.start()
        try:
            ((told),) = await admin.describe_topics([topic])
            places = [TopicPartition(topic, each["partition"]) for each in told["partitions"]]
            await admin.delete_records({place: RecordsToDelete(before_offset=-1) for place in places})
        finally:
            await admin.close()

    asyncio.run(delete())


def positions(site: Site, statement: str = "SELECT partition, next_offset FROM positions") -> dict[int, int]:
    async def ask() -> dict[int, int]:
        connection = await asyncpg.connect(site.setting("database_url"))
        try:
            return dict(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(ask())


def accept_the_gap(site: Site) -> None:
    """What docs/operations.md says."""
    positions(site, "DELETE FROM positions RETURNING partition, next_offset")


def sent(site: Site, *redemptions: str) -> None:
    """All into one partition."""
    Sender(site.url).send([body(sale(redemption, "cust_1")) for redemption in redemptions])


def assert_stopped(worker: Running) -> None:
    until(lambda: "were deleted by the log's retention" in worker.err, "it says so")
    until(lambda: worker.probe("ready") == 503, "not ready")
    assert worker.probe("live") == 200  # a restart would mend nothing


def test_nothing_is_skipped_in_silence(cluster: Site) -> None:
    cluster.start("ingress").wait_ready()
    worker = cluster.start("worker").wait_ready()
    sent(cluster, "r_1", "r_2")
    cluster.wait_idle()
    points = cluster.balances()["cust_1"]

    # While no worker runs.
    assert worker.stop() == 0
    sent(cluster, "r_lost_1", "r_lost_2")
    delete_everything(cluster)
    before = positions(cluster)
    worker = cluster.start("worker")
    assert_stopped(worker)
    assert (positions(cluster), cluster.balances()) == (before, {"cust_1": points})
    accept_the_gap(cluster)
    worker.wait_ready()
    sent(cluster, "r_3")
    cluster.wait_idle()
    assert cluster.balances() == {"cust_1": points // 2 * 3}

    # Under a worker that is held up. The broker answers the fetch that waits with what comes first, and
    # nothing else reaches the worker.
    said = worker.err.count("were deleted")
    worker.send(signal.SIGSTOP)
    sent(cluster, "r_in_its_hands")
    sent(cluster, *(f"r_lost_{number}" for number in range(3, 9)))
    delete_everything(cluster)
    worker.send(signal.SIGCONT)
    until(lambda: worker.err.count("were deleted") > said, "it says so again")
    assert_stopped(worker)
    accept_the_gap(cluster)
    worker.wait_ready()
    assert cluster.told("effects", "show", "r_3") != []
    assert cluster.ask("effects", "show", "r_lost_8").code == 1
    assert worker.stop() == 0
