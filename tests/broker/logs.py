"""The two logs as the conformance suite drives them, and what its tests say often."""

import uuid
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol

from broker.embedded import EmbeddedConsumer, EmbeddedProducer
from broker.embedded_admin import EmbeddedAdmin
from broker.embedded_history import EmbeddedHistory
from broker.embedded_log import EmbeddedLog
from broker.kafka_admin import KafkaAdmin
from broker.kafka_connection import KafkaConnection
from broker.kafka_consumer import KafkaConsumer
from broker.kafka_history import KafkaHistory
from broker.kafka_membership import MemberSettings
from broker.kafka_producer import KafkaProducer
from broker.protocols import Consumer, History, LogAdmin, Producer, Record
from broker.topics import Topics
from events.runtime import SystemRuntime

PARTITIONS = 4


def new_topics(**settings: object) -> Topics:
    """Topics that no other test uses."""
    mark = uuid.uuid4().hex[:8]
    named = {"events": f"events-{mark}", "dead_letters": f"dead-letters-{mark}", "partitions": PARTITIONS}
    return Topics(**(named | settings))  # type: ignore[arg-type]


class Log(Protocol):
    """Makes what stands behind the protocols. Nothing it makes is started."""

    topics: Topics

    def producer(self) -> Producer: ...

    def consumer(self, group: str) -> Consumer: ...

    def admin(self) -> LogAdmin: ...

    def history(self) -> History: ...


class KafkaLog:
    def __init__(self, servers: str, topics: Topics) -> None:
        self.connection = KafkaConnection(bootstrap_servers=servers)
        self.topics = topics

    def producer(self) -> Producer:
        return KafkaProducer(self.connection, self.topics)

    def consumer(self, group: str, **settings: object) -> KafkaConsumer:
        member = MemberSettings(**({"group": group, "session_timeout": 6.0} | settings))  # type: ignore[arg-type]
        return KafkaConsumer(self.connection, self.topics, member, SystemRuntime())

    def admin(self) -> LogAdmin:
        return KafkaAdmin(self.connection, self.topics)

    def history(self) -> History:
        return KafkaHistory(self.connection, self.topics)


class EmbeddedLogs:
    """Each client gets a log of its own on the same file, as if it were another process."""

    def __init__(self, path: Path, topics: Topics) -> None:
        self.path = path
        self.topics = topics

    def log(self) -> EmbeddedLog:
        return EmbeddedLog(self.path, self.topics, SystemRuntime())

    def producer(self) -> Producer:
        return EmbeddedProducer(self.log())

    def consumer(self, group: str) -> Consumer:
        return EmbeddedConsumer(self.log(), group)

    def admin(self) -> LogAdmin:
        return EmbeddedAdmin(self.log())

    def history(self) -> History:
        return EmbeddedHistory(self.log())


async def nothing() -> None:
    """An on_revoked that has nothing to finish."""


async def assigned(consumer: Consumer, count: int = PARTITIONS) -> int:
    """Wait until the consumer holds `count` partitions; returns the epoch."""
    while len(consumer.assignment().partitions) != count:
        await consumer.fetch(1, 0.05)
    return consumer.assignment().epoch


async def joined(
    consumer: Consumer, count: int = PARTITIONS, on_revoked: Callable[[], Awaitable[None]] = nothing
) -> int:
    """Start and wait for `count` partitions; returns the epoch."""
    await consumer.start(on_revoked)
    return await assigned(consumer, count)


async def place(consumer: Consumer, partitions: Iterable[int] | None = None) -> None:
    """Place partitions (all that are held) where the group left them, else at their start."""
    wanted = consumer.assignment().partitions if partitions is None else list(partitions)
    committed, bounds = await consumer.committed(wanted), await consumer.bounds(wanted)
    for partition in wanted:
        offset = committed[partition]
        consumer.seek(partition, bounds[partition].start if offset is None else offset)


async def read(consumer: Consumer, count: int, *, at_a_time: int = 500) -> list[Record]:
    """Fetch until there are `count` records; the test's own time-out ends it when there are not."""
    records: list[Record] = []
    while len(records) < count:
        _, more = await consumer.fetch(at_a_time, 1.0)
        records += more
    return records


def ends(records: Iterable[Record]) -> dict[int, int]:
    """What to commit once all of these are settled."""
    return {record.partition: record.next_offset for record in records}
