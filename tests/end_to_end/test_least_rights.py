"""The whole path on TLS, SCRAM and a locked-up PostgreSQL, with the rights of docs/security.md alone."""

import asyncio
import uuid
from collections.abc import Iterator

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, errors
from aiokafka.helpers import create_ssl_context

from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.guarded import GuardedKafka, documented_grants, documented_rights
from tests.end_to_end.postgres import OwnPostgres
from tests.end_to_end.processes import Answer, Site, until
from tests.end_to_end.traffic import Sender, traffic

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
USERS = {f"redemptions-{part}": f"password-of-the-{part}" for part in ("ingress", "worker", "operator")}


@pytest.fixture(scope="module")
def guarded_kafka(kafka_libs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    broker = GuardedKafka(tmp_path_factory.mktemp("guarded"), USERS)
    broker.start()
    broker.allow(list(documented_rights()))
    yield broker
    broker.kill()


class Roles:
    """Who each part is, to Kafka and to PostgreSQL."""

    def __init__(self, site: Site, kafka: GuardedKafka, postgres: OwnPostgres) -> None:
        self._site = site
        name = f"least_{uuid.uuid4().hex[:8]}"
        self.owner_url = postgres.create(name)
        for role in ("redemptions_worker", "redemptions_reader"):
            postgres.demand_password(role, f"password-of-{role}")
        self.worker_url, self.reader_url = (
            postgres.url(name, role, f"password-of-{role}")
            for role in ("redemptions_worker", "redemptions_reader")
        )
        self.kafka = kafka

    def who(self, part: str, database_url: str | None = None) -> dict[str, object]:
        password = self._site.directory / f"{part}.password"
        password.write_text(f"{USERS[part]}\n")
        return {
            "kafka_sasl_username": part,
            "kafka_sasl_password_file": password,
            "database_url": database_url,
        }

    def operator(self, *arguments: str) -> Answer:
        return self._site.ask_with(self.who("redemptions-operator", self.worker_url), *arguments)

    def reader(self, *arguments: str) -> Answer:
        return self._site.ask_with(self.who("redemptions-operator", self.reader_url), *arguments)


@pytest.fixture
def site(make_site: MakeSite, guarded_kafka: GuardedKafka) -> Site:
    return make_site(
        kafka_bootstrap_servers=f"127.0.0.1:{guarded_kafka.sasl_port}",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_ssl_cafile=guarded_kafka.authority,
        events_partitions=2,
        session_timeout=6,
    )


async def refusals(url: str, *statements: str) -> list[str]:
    """What PostgreSQL says to each."""
    connection = await asyncpg.connect(url)
    told = []
    for statement in statements:
        try:
            await connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError as refused:
            told.append(str(refused))
    await connection.close()
    return told


async def may_not_read_or_bury(kafka: GuardedKafka, user: str) -> None:
    options = {
        "bootstrap_servers": f"127.0.0.1:{kafka.sasl_port}",
        "security_protocol": "SASL_SSL",
        "ssl_context": create_ssl_context(cafile=str(kafka.authority)),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": user,
        "sasl_plain_password": USERS[user],
    }
    producer = AIOKafkaProducer(**options, enable_idempotence=True)
    await producer.start()
    with pytest.raises(errors.TopicAuthorizationFailedError):
        await producer.send_and_wait("redemptions.dead-letters", b"forged")
    await producer.stop()
    consumer = AIOKafkaConsumer("redemptions.events", **options, auto_offset_reset="earliest")
    await consumer.start()
    with pytest.raises(errors.TopicAuthorizationFailedError):
        await asyncio.wait_for(consumer.getone(), 20)
    await consumer.stop()


def test_each_part_does_its_work_with_the_rights_that_are_documented_and_no_others(
    site: Site, guarded_kafka: GuardedKafka, own_postgres: OwnPostgres
) -> None:
    roles = Roles(site, guarded_kafka, own_postgres)
    answer = roles.operator("topics", "ensure")
    assert answer.code == 0, answer
    assert site.ask_with(roles.who("redemptions-operator", roles.owner_url), "db", "upgrade").code == 0
    own_postgres.run_in(roles.owner_url, *documented_grants())

    door = site.start("ingress", **roles.who("redemptions-ingress")).wait_ready()
    worker = site.start("worker", **roles.who("redemptions-worker", roles.worker_url)).wait_ready()
    load = traffic(40, seed=8)
    sender = Sender(site.url)
    sender.send(load.bodies)
    assert set(sender.answers) == {202}
    idle = roles.reader("status", "--wait-idle", "60")
    assert idle.code == 0, (idle, worker.err)

    assert sum(load.balances.values()) == roles.reader("ledger", "totals", "--json").json["points"]
    assert roles.reader("ledger", "verify", "--json").json == []
    letters = roles.reader("dead-letters", "list", "--json").json
    assert len(letters) == load.malformed
    replay = roles.operator("dead-letters", "replay", letters[0]["id"])
    assert replay.code == 0, replay
    until(
        lambda: roles.reader("dead-letters", "show", letters[0]["id"], "--json").json["replays"] == 1,
        "the replay has come back",
    )
    checked = roles.operator("doctor")
    assert checked.code == 0, checked

    assert len(asyncio.run(_forbidden_to_the_worker(roles))) == 4
    assert (
        len(asyncio.run(refusals(roles.reader_url, "DELETE FROM entries", "UPDATE balances SET points = 1")))
        == 2
    )
    asyncio.run(may_not_read_or_bury(guarded_kafka, "redemptions-ingress"))
    not_theirs = site.ask_with(
        roles.who("redemptions-worker", roles.worker_url) | {"events_topic": "redemptions.more"},
        "topics",
        "ensure",
    )
    assert not_theirs.code == 2, not_theirs
    assert "redemptions.more" not in asyncio.run(guarded_kafka.topics())
    told = door.err + worker.err + door.metrics() + worker.metrics()
    assert not [password for password in USERS.values() if password in told]
    assert "password-of-redemptions_worker" not in told
    assert (door.stop(), worker.stop()) == (0, 0)


async def _forbidden_to_the_worker(roles: Roles) -> list[str]:
    return await refusals(
        roles.worker_url,
        "CREATE TABLE mine (id int)",
        "ALTER TABLE entries DROP COLUMN points",
        "DELETE FROM audit",
        "UPDATE audit SET who = 'nobody'",
    )


def test_a_certificate_nobody_vouches_for_and_a_wrong_password_end_the_start(
    site: Site, guarded_kafka: GuardedKafka
) -> None:
    strange = site.ask_with(
        {"kafka_ssl_cafile": None, "kafka_sasl_username": "x", "kafka_sasl_password": "y"}, "ingress"
    )
    assert strange.code == 2
    assert "certificate" in strange.err.lower()
    wrong = site.ask_with(
        {"kafka_sasl_username": "redemptions-ingress", "kafka_sasl_password": "not-the-password"}, "ingress"
    )
    assert wrong.code == 2
    assert len(wrong.err.splitlines()) == 1
    assert "not-the-password" not in wrong.err
