"""What only Kafka can do to us: brokers that die or freeze, rebalances, refusals, foreign topics."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest
import uvloop
from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn
from aiokafka.protocol.admin import ApiVersionRequest

from broker import kafka_consumer, kafka_membership, kafka_producer
from broker.kafka_admin import KafkaAdmin
from broker.kafka_connection import KafkaConnection
from broker.kafka_consumer import KafkaConsumer
from broker.kafka_membership import MemberSettings
from broker.kafka_producer import KafkaProducer
from broker.protocols import Fenced, Record, TooLarge
from events.failures import Misconfigured, Unavailable
from events.runtime import SystemRuntime
from tests.broker.conftest import Clients
from tests.broker.logs import PARTITIONS, KafkaLog, assigned, ends, joined, new_topics, nothing, place, read
from tests.services.kafka import Kafka

# Starting a broker takes seconds, on a busy machine many.
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.fixture
async def shared(kafka: str) -> AsyncIterator[Clients]:
    """Clients on the Kafka that all tests share."""
    async with on(kafka) as clients:
        yield clients


@contextlib.asynccontextmanager
async def on(servers: str, **topics: object) -> AsyncIterator[Clients]:
    log = KafkaLog(servers, new_topics(**topics))
    admin = log.admin()
    await admin.ensure_topics()
    await admin.close()
    clients = Clients(log)
    try:
        yield clients
    finally:
        await clients.stop()


def member(clients: Clients, **settings: object) -> KafkaConsumer:
    assert isinstance(clients.log, KafkaLog)
    consumer = clients.log.consumer(f"readers-{clients.topics.events}", **settings)
    clients.made.append(consumer)
    return consumer


@contextlib.asynccontextmanager
async def polled(*consumers: KafkaConsumer) -> AsyncIterator[None]:
    """Keep fetching from consumers, as workers do, so that they take part in rebalances."""

    async def poll(consumer: KafkaConsumer) -> None:
        while True:
            await consumer.fetch(1, 0.05)

    tasks = [asyncio.create_task(poll(consumer)) for consumer in consumers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def append_patiently(producer: KafkaProducer, topic: str, value: bytes) -> None:
    """As a sender does: again until it is accepted."""
    while True:
        with contextlib.suppress(Unavailable):
            await producer.append(topic, value, key=b"k", headers=[])
            return


async def read_patiently(consumer: KafkaConsumer, until: bytes) -> list[Record]:
    """As a worker does: place what is assigned, commit what is read, wait out what is not available."""
    records: list[Record] = []
    epoch = 0
    while not records or records[-1].value != until:
        try:
            if consumer.assignment().epoch != epoch:
                epoch = consumer.assignment().epoch
                await place(consumer)
            _, more = await consumer.fetch(50, 0.5)
            records += more
            if more:
                await consumer.commit(epoch, ends(more))
        except Unavailable:
            await asyncio.sleep(0.2)
        except Fenced:
            continue
    return records


async def test_a_killed_broker_loses_and_reorders_nothing(
    own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "SILENT_SECONDS", 1.0)
    async with on(own_kafka.bootstrap_servers, partitions=1) as clients:
        producer = await clients.producer()
        assert isinstance(producer, KafkaProducer)
        consumer = member(clients)
        await joined(consumer, 1)
        reading = asyncio.create_task(read_patiently(consumer, b"599"))

        async def append_all() -> None:
            for number in range(600):
                await append_patiently(producer, clients.topics.events, b"%d" % number)

        appending = asyncio.create_task(append_all())
        await asyncio.wait({appending}, timeout=0.5)
        assert not appending.done()  # the broker dies in the middle
        await asyncio.to_thread(own_kafka.kill)
        await asyncio.to_thread(own_kafka.start)
        await appending
        records = await reading
        values = [int(record.value) for record in records]
        # A sender that was told nothing may have sent twice; nothing is lost, and nothing overtaken.
        assert sorted(set(values)) == list(range(600))
        first = [value for place, value in enumerate(values) if value not in values[:place]]
        assert first == list(range(600))


async def test_a_broker_that_is_gone_is_told_and_one_that_is_back_is_used(
    own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(kafka_producer, "APPEND_SECONDS", 1.0)
    async with on(own_kafka.bootstrap_servers) as clients:
        producer, consumer = await clients.producer(), member(clients)
        await joined(consumer)
        await place(consumer)
        own_kafka.kill()
        with pytest.raises(Unavailable):
            await producer.append(clients.topics.events, b"lost", key=b"k", headers=[])
        with pytest.raises(Unavailable):
            while True:
                await consumer.fetch(10, 0.2)
        await asyncio.to_thread(own_kafka.start)
        assert isinstance(producer, KafkaProducer)
        await append_patiently(producer, clients.topics.events, b"back")
        assert b"back" in [r.value for r in await read_patiently(consumer, b"back")]


async def test_a_frozen_broker_is_told_and_stopping_does_not_wait_for_it(
    own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(kafka_producer, "APPEND_SECONDS", 1.0)
    monkeypatch.setattr(kafka_producer, "STOP_SECONDS", 1.0)
    monkeypatch.setattr(kafka_membership, "STOP_SECONDS", 1.0)
    monkeypatch.setattr(kafka_membership, "COMMIT_SECONDS", 1.0)
    async with on(own_kafka.bootstrap_servers) as clients:
        producer, consumer = await clients.producer(), member(clients)
        epoch = await joined(consumer)
        await place(consumer)
        own_kafka.freeze()
        with pytest.raises(Unavailable):
            await producer.append(clients.topics.events, b"lost", key=b"k", headers=[])
        with pytest.raises(Unavailable):
            await consumer.commit(epoch, {0: 0})
        with pytest.raises(Unavailable):
            while True:
                await consumer.fetch(10, 0.2)
        await producer.stop()
        await consumer.stop()
        own_kafka.thaw()


async def test_a_lost_membership_is_made_anew(shared: Clients) -> None:
    producer, consumer = await shared.producer(), member(shared)
    epoch = await joined(consumer)
    await place(consumer)
    assert consumer._member
    # What aiokafka's coordination task does when it meets an answer it does not know.
    consumer._member.client._coordinator._coordination_task.cancel()
    consumer._member.client._fetcher._fetch_task.cancel()
    with pytest.raises(Unavailable):
        while True:
            await consumer.fetch(10, 0.2)
    assert await assigned(consumer) > epoch
    with pytest.raises(Fenced):
        await consumer.commit(epoch, {0: 0})
    await place(consumer)
    await producer.append(shared.topics.events, b"again", key=b"k", headers=[])
    assert [record.value for record in await read(consumer, 1)] == [b"again"]


async def test_a_client_whose_task_died_of_anything_at_all_is_replaced(shared: Clients) -> None:
    producer, consumer = await shared.producer(), member(shared)
    epoch = await joined(consumer)
    assert consumer._member

    async def die() -> None:
        raise RuntimeError("the handler is closed")

    coordinator = consumer._member.client._coordinator
    coordinator._coordination_task.cancel()
    coordinator._coordination_task = asyncio.create_task(die())
    with pytest.raises(Unavailable):
        while True:
            await consumer.fetch(10, 0.2)
    assert await assigned(consumer) > epoch
    await place(consumer)
    await producer.append(shared.topics.events, b"again", key=b"k", headers=[])
    assert [record.value for record in await read(consumer, 1)] == [b"again"]


def test_writing_to_a_connection_that_was_just_reset_is_a_connection_error(kafka: str) -> None:
    async def write() -> None:
        host, _, port = kafka.partition(",")[0].rpartition(":")
        connection = await create_conn(host, int(port))
        writer = connection._writer
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        connection._writer = writer  # as if aiokafka had not noticed yet
        with pytest.raises(errors.KafkaConnectionError):
            connection.send(ApiVersionRequest())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(write())


async def test_a_worker_that_did_not_fetch_for_long_keeps_its_place(
    shared: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SystemRuntime()
    assert isinstance(shared.log, KafkaLog)
    settings = MemberSettings(group=f"patient-{shared.topics.events}")
    consumer = KafkaConsumer(shared.log.connection, shared.topics, settings, clock)
    shared.made.append(consumer)
    producer = await shared.producer()
    epoch = await joined(consumer)
    await place(consumer)
    for _ in range(3):
        await producer.append(shared.topics.events, b"x", key=b"k", headers=[])
    await read(consumer, 1, at_a_time=1)
    begin = clock.monotonic
    monkeypatch.setattr(clock, "monotonic", lambda: begin() + 3600.0)
    assert len(await read(consumer, 2, at_a_time=1)) == 2
    assert (await consumer.fetch(1, 0.1)) == (epoch, [])
    assert consumer.assignment().epoch == epoch


async def test_two_members_share_and_the_old_assignment_is_void(shared: Clients) -> None:
    producer = await shared.producer()
    revoked: list[int] = []
    first, second = member(shared), member(shared)

    async def note() -> None:
        revoked.append(first.assignment().epoch)
        await first.commit(epoch, {0: 0})

    epoch = await joined(first, on_revoked=note)
    await place(first)
    await second.start(nothing)
    async with polled(first, second):
        await asyncio.gather(assigned(first, 2), assigned(second, 2))
    assert revoked == [epoch]
    assert not first.assignment().partitions & second.assignment().partitions
    with pytest.raises(Fenced):
        await first.commit(epoch, {0: 1})
    held = next(iter(first.assignment().partitions))
    await first.commit(first.assignment().epoch, {held: 0})
    await producer.append(shared.topics.events, b"x", key=b"k", headers=[])
    assert (await first.fetch(10, 0.3))[1] == []  # the places were of the old assignment


async def test_a_commit_for_somebody_elses_partition_is_fenced(shared: Clients) -> None:
    first, second = member(shared), member(shared)
    await joined(first)
    await second.start(nothing)
    async with polled(first, second):
        await asyncio.gather(assigned(first, 2), assigned(second, 2))
    theirs = next(iter(second.assignment().partitions))
    with pytest.raises(Fenced):
        await first.commit(first.assignment().epoch, {theirs: 0})


async def test_a_member_that_was_silent_too_long_is_fenced_and_comes_back(shared: Clients) -> None:
    frozen = member(shared)
    epoch = await joined(frozen)
    time.sleep(8)  # noqa: ASYNC251 - the whole process stands still, as when it is frozen
    with pytest.raises(Fenced):
        await frozen.commit(epoch, {0: 5})
    assert await assigned_after(frozen, epoch) > epoch
    assert set((await frozen.committed(range(PARTITIONS))).values()) == {None}


async def assigned_after(consumer: KafkaConsumer, epoch: int) -> int:
    while consumer.assignment().epoch == epoch or not consumer.assignment().partitions:
        await consumer.fetch(1, 0.05)
    return consumer.assignment().epoch


async def test_what_on_revoked_raises_is_told_by_the_next_fetch(shared: Clients) -> None:
    first, second = member(shared), member(shared)

    async def fail() -> None:
        raise RuntimeError("cannot drain")

    await joined(first, on_revoked=fail)
    await second.start(nothing)
    with pytest.raises(RuntimeError, match="cannot drain"):
        while True:
            await first.fetch(1, 0.05)


async def test_partitions_added_to_the_topic_are_picked_up(shared: Clients) -> None:
    assert isinstance(shared.log, KafkaLog)
    consumer = member(shared, metadata_max_age=0.5)
    await joined(consumer)
    admin = AIOKafkaAdminClient(**shared.log.connection.options())
    await admin.start()
    await admin.create_partitions({shared.topics.events: NewPartitions(PARTITIONS + 2)})
    await admin.close()
    await assigned(consumer, PARTITIONS + 2)


async def test_a_static_member_comes_back_without_a_rebalance(shared: Clients) -> None:
    stays, leaves = member(shared, instance_id="a"), member(shared, instance_id="b")
    await joined(stays)
    await leaves.start(nothing)
    async with polled(stays, leaves):
        await asyncio.gather(assigned(stays, 2), assigned(leaves, 2))
        before, held = stays.assignment(), leaves.assignment().partitions
    await leaves.stop()
    returns = member(shared, instance_id="b")
    async with polled(stays):
        await joined(returns, 2)
    assert returns.assignment().partitions == held
    assert stays.assignment() == before


async def test_a_newer_process_with_the_same_instance_id_takes_over(shared: Clients) -> None:
    older = member(shared, instance_id="only")
    epoch = await joined(older)
    newer = member(shared, instance_id="only")
    await joined(newer)
    with pytest.raises(Misconfigured) as told:
        while True:
            await older.fetch(1, 0.05)
    assert told.value.reason == "instance_id_taken"
    assert not older.assignment().partitions
    with pytest.raises(Fenced):
        await older.commit(epoch, {0: 5})
    with pytest.raises(Misconfigured):
        await older.fetch(1, 0.05)
    now = newer.assignment()
    await newer.commit(now.epoch, {0: 0})
    await older.stop()
    await newer.commit(now.epoch, {0: 0})
    assert newer.assignment() == now


async def test_the_broker_finding_a_record_too_large_does_not_stop_the_producer(kafka: str) -> None:
    async with on(kafka, max_body_bytes=1_000_000) as clients:
        assert isinstance(clients.log, KafkaLog)
        producer = KafkaProducer(clients.log.connection, clients.topics)
        await producer.start()
        await set_limit(clients.log, 1000)
        noise = b"".join(hash((n, "noise")).to_bytes(8, "big", signed=True) for n in range(40_000))
        for _ in range(2):
            with pytest.raises(TooLarge):
                await producer.append(clients.topics.events, noise, key=b"k", headers=[])
            await append_patiently(producer, clients.topics.events, b"small")
        await producer.stop()


async def test_records_larger_than_a_fetch_come_beside_a_stream_of_others(shared: Clients) -> None:
    producer, consumer = await shared.producer(), shared.consumer()
    noise = Random(7)
    values = [noise.randbytes(1_900_000 if number % 50 == 25 else 20_000) for number in range(300)]
    for number, value in enumerate(values):  # keys of all partitions, and large ones in each
        await producer.append(shared.topics.events, value, key=b"%d" % (number // 2), headers=[])
    await joined(consumer)
    await place(consumer)
    assert sorted(record.value for record in await read(consumer, len(values))) == sorted(values)


async def test_limits_are_raised_and_other_settings_of_the_topic_kept(kafka: str) -> None:
    log = KafkaLog(kafka, new_topics())
    foreign = AIOKafkaAdminClient(**log.connection.options())
    await foreign.start()
    configs = {"max.message.bytes": "1000", "retention.ms": "1000", "segment.ms": "77777777"}
    await foreign.create_topics([NewTopic(log.topics.events, 2, 1, topic_configs=configs)])
    admin = log.admin()
    wrong = await admin.check_topics()
    assert len(wrong) == 3  # two limits of the events topic, and no dead-letter topic
    assert any("max.message.bytes is 1000" in line for line in wrong)
    done = await admin.ensure_topics()
    assert any("left" in line and "2 partitions" in line for line in done)
    assert await admin.check_topics() == []
    resource = ConfigResource(ConfigResourceType.TOPIC, log.topics.events)
    (answer,) = await foreign.describe_configs([resource])
    held = {name: value for name, value, *_ in answer.resources[0][4]}
    assert held["segment.ms"] == "77777777"
    assert held["retention.ms"] == str(log.topics.retention_ms)
    await admin.close()
    await foreign.close()


async def set_limit(log: KafkaLog, limit: int) -> None:
    """As an operator might, by hand; returns once it holds."""
    admin = AIOKafkaAdminClient(**log.connection.options())
    await admin.start()
    events = log.topics.events
    limited = ConfigResource(ConfigResourceType.TOPIC, events, configs={"max.message.bytes": str(limit)})
    await admin.alter_configs([limited])

    async def holds() -> bool:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, events)])
        return ("max.message.bytes", str(limit)) in [entry[:2] for entry in answer.resources[0][4]]

    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.05)
    await admin.close()


async def test_a_start_against_a_topic_with_too_small_a_limit_is_refused(kafka: str) -> None:
    async with on(kafka) as clients:
        assert isinstance(clients.log, KafkaLog)
        await set_limit(clients.log, 1000)
        producer = KafkaProducer(clients.log.connection, clients.topics)
        with pytest.raises(Misconfigured, match=r"max\.message\.bytes is 1000, .*topics ensure"):
            await producer.start()
        admin = clients.log.admin()
        await admin.ensure_topics()
        await admin.close()
        await producer.start()
        await producer.stop()


async def test_nobody_at_the_port_is_unavailable(free_port: int) -> None:
    connection, topics = KafkaConnection(bootstrap_servers=f"127.0.0.1:{free_port}"), new_topics()
    producer, admin = KafkaProducer(connection, topics), KafkaAdmin(connection, topics)
    consumer = KafkaConsumer(connection, topics, MemberSettings(group="g"), SystemRuntime())
    for question in (producer.start(), consumer.start(nothing), admin.ensure_topics(), admin.check_topics()):
        with pytest.raises(Unavailable):
            await question
    for client in (producer.stop(), consumer.stop(), admin.close()):
        await client


@pytest.fixture
def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture(scope="module")
def guarded_kafka(kafka_libs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A Kafka that asks for a password on its second port, where nobody may do anything, and that would
    make topics by itself."""
    broker = Kafka(
        tmp_path_factory.mktemp("guarded"),
        {
            "listeners": "PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port,"
            "SASL_PLAINTEXT://127.0.0.1:$sasl_port",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain."
            'PlainLoginModule required user_worker="right";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "auto.create.topics.enable": "true",
        },
    )
    broker.start()
    yield broker
    broker.kill()


@pytest.mark.parametrize("password", ["wrong", "right"])
async def test_refused_credentials_and_missing_rights_are_told_at_once(
    guarded_kafka: Kafka, password: str
) -> None:
    async with on(guarded_kafka.bootstrap_servers) as clients:
        connection = KafkaConnection(
            bootstrap_servers=f"127.0.0.1:{guarded_kafka.sasl_port}",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username="worker",
            sasl_password=password,
        )
        assert password not in repr(connection)
        producer = KafkaProducer(connection, clients.topics)
        settings = MemberSettings(group="g")
        consumer = KafkaConsumer(connection, clients.topics, settings, SystemRuntime())
        admin = KafkaAdmin(connection, clients.topics)
        for question in (producer.start(), consumer.start(nothing), admin.check_topics()):
            with pytest.raises(Misconfigured) as told:
                await question
            assert password not in str(told.value)
        for client in (producer.stop(), consumer.stop(), admin.close()):
            await client


async def test_a_group_that_refuses_us_is_told_at_the_start(
    guarded_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def let_in(*_: object) -> None: ...

    monkeypatch.setattr(kafka_consumer, "greet", let_in)
    connection = KafkaConnection(
        bootstrap_servers=f"127.0.0.1:{guarded_kafka.sasl_port}",
        security_protocol="SASL_PLAINTEXT",
        sasl_username="worker",
        sasl_password="right",
    )
    consumer = KafkaConsumer(connection, new_topics(), MemberSettings(group="g"), SystemRuntime())
    with pytest.raises(Misconfigured, match="GroupAuthorizationFailed"):
        await consumer.start(nothing)


async def test_a_session_shorter_than_the_broker_allows_is_told(shared: Clients) -> None:
    consumer = member(shared, session_timeout=0.5)
    await consumer.start(nothing)
    with pytest.raises(Misconfigured, match="InvalidSessionTimeout"):
        while True:
            await consumer.fetch(1, 0.05)


async def test_starting_does_not_make_a_missing_topic(guarded_kafka: Kafka, tmp_path: Path) -> None:
    log = KafkaLog(guarded_kafka.bootstrap_servers, new_topics())
    producer, consumer = log.producer(), log.consumer("g")
    for start in (producer.start(), consumer.start(nothing)):
        with pytest.raises(Unavailable, match="topics ensure") as told:
            await start
        assert told.value.reason == "topic_missing"
    admin = AIOKafkaAdminClient(**log.connection.options())
    await admin.start()
    assert log.topics.events not in await admin.list_topics()
    await admin.close()
