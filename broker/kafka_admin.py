"""Owns what operators ask of Kafka: the topics and their limits, and how far each group is behind."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from broker.kafka_connection import GREET_SECONDS, KafkaConnection, failure_of, greet
from broker.topics import Topics
from events.failures import Misconfigured

log = logging.getLogger(__name__)

ROOM = "max.message.bytes"
ANSWER_SECONDS = 20.0
RETRY_SECONDS = 0.3
SET_ON_TOPIC = 1
"""The config source of what somebody set on the topic itself (the rest are defaults)."""

T = TypeVar("T")
Configs = dict[str, str]


class KafkaAdmin:
    """A `LogAdmin` on Kafka. Connects at the first question; raises Unavailable or Misconfigured."""

    def __init__(self, connection: KafkaConnection, topics: Topics) -> None:
        self._connection = connection
        self._topics = topics
        self._admin: AIOKafkaAdminClient | None = None
        self._reader: AIOKafkaConsumer | None = None

    async def ping(self) -> None:
        await greet(self._connection, [self._topics.events])

    async def ensure_topics(self) -> list[str]:
        """Never adds partitions: that would send a customer's later events past the earlier ones."""
        done = []
        for topic in self._topics.names:
            configs = await self._ask(partial(self._configs, topic))
            if configs is None:
                done.append(await self._create(topic))
            else:
                done += await self._widen(topic, configs)
        return done

    async def check_topics(self) -> list[str]:
        """Missing topics, and limits smaller than the settings ask for."""
        wrong = []
        for topic in self._topics.names:
            configs = await self._ask(partial(self._configs, topic))
            if configs is None:
                wrong.append(f"topic {topic} does not exist: run `redemptions topics ensure`")
                continue
            for name, wanted in self._wanted(topic).items():
                if _smaller(configs[0].get(name), wanted):
                    wrong.append(f"topic {topic}: {name} is {configs[0].get(name)}, needs at least {wanted}")
        return wrong

    async def require_room(self) -> None:
        """Raises Misconfigured if a topic takes only smaller records than we accept: such a one would be sent
        to us again and again, and never be stored. Without the right to look it is left to `doctor`."""
        for topic in self._topics.names:
            try:
                configs = await self._ask(partial(self._configs, topic))
            except Misconfigured as refused:
                log.warning("the limits of the topic %s cannot be checked: %s", topic, refused)
                continue
            given, wanted = (configs or ({}, {}))[0].get(ROOM), str(self._topics.record_limit)
            if configs is not None and _smaller(given, wanted):
                raise Misconfigured(
                    "topic_limit",
                    f"Topic {topic}: {ROOM} is {given}, needs {wanted}: run `redemptions topics ensure`",
                )

    async def lag(self, groups: Iterable[str] | None = None) -> dict[str, int]:
        """None: the groups that ever committed to the events topic."""
        await self.ping()
        partitions = await self._ask(partial(self._partitions, self._topics.events))
        reader = await self._connected_reader()
        starts = await self._ask(partial(reader.beginning_offsets, partitions))
        ends = await self._ask(partial(reader.end_offsets, partitions))
        known = await self._ask(self._groups) if groups is None else list(groups)
        lags = {}
        for group in known:
            committed = await self._ask(partial(self._committed, group))
            if groups is None and not committed:
                continue
            lags[group] = sum(
                max(0, ends[place] - max(committed.get(place, 0), starts[place])) for place in partitions
            )
        return lags

    async def close(self) -> None:
        if self._reader:
            await self._reader.stop()
        if self._admin:
            await self._admin.close()
        self._reader = self._admin = None

    def _wanted(self, topic: str) -> Configs:
        """The limits a topic needs. Dead letters stay for as long as the broker likes."""
        wanted = {ROOM: str(self._topics.record_limit)}
        if topic == self._topics.events:
            wanted["retention.ms"] = str(self._topics.retention_ms)
        return wanted

    async def _create(self, topic: str) -> str:
        configs = self._wanted(topic) | {"cleanup.policy": "delete"}
        replication = self._topics.replication
        # aiokafka takes -1, the broker's own choice, only beside (no) assignments.
        assignments: dict[int, list[int]] | None = {} if replication == -1 else None
        new = NewTopic(topic, self._topics.partitions, replication, assignments, configs)
        admin = await self._connected()
        answer = await self._ask(partial(admin.create_topics, [new]))
        for _, code, message in answer.topic_errors:
            if code and errors.for_code(code) is not errors.TopicAlreadyExistsError:
                raise _not_done(f"create the topic {topic}", code, message)
        await self._ask(partial(self._partitions, topic))
        return f"created {topic} with {self._topics.partitions} partitions"

    async def _widen(self, topic: str, configs: tuple[Configs, Configs]) -> list[str]:
        """Raise what falls short; a line for what was done, and one for what is left as it is."""
        effective, own = configs
        wanted = self._wanted(topic).items()
        short = {name: want for name, want in wanted if _smaller(effective.get(name), want)}
        if short:
            # Kafka's AlterConfigs resets whatever is not named, so what was set on the topic is named again.
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=own | short)
            admin = await self._connected()
            (answer,) = await self._ask(partial(admin.alter_configs, [resource]))
            for code, message, *_ in answer.resources:
                if code:
                    raise _not_done(f"change the topic {topic}", code, message)
        done = [f"changed {topic}: {name} from {effective.get(name)} to {short[name]}" for name in short]
        there, hoped = len(await self._ask(partial(self._partitions, topic))), self._topics.partitions
        if there < hoped:
            done.append(
                f"left {topic} at {there} partitions, not {hoped}: keys would move to other partitions"
            )
        return done

    async def _configs(self, topic: str) -> tuple[Configs, Configs] | None:
        """What holds for the topic, and what of that was set on the topic itself; None: no such topic."""
        admin = await self._connected()
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        code, message, _, _, entries = answer.resources[0]
        if code:
            error = errors.for_code(code)
            if error is errors.UnknownTopicOrPartitionError:
                return None
            raise error(message)
        effective = {name: value for name, value, *_ in entries}
        own = {name: value for name, value, _, source, *_ in entries if source == SET_ON_TOPIC}
        return effective, own

    async def _partitions(self, topic: str) -> list[TopicPartition]:
        """Raises a retriable error as long as the topic is still on its way to the brokers."""
        admin = await self._connected()
        (described,) = await admin.describe_topics([topic])
        if described["error_code"]:
            raise errors.for_code(described["error_code"])(topic)
        return [TopicPartition(topic, each["partition"]) for each in described["partitions"]]

    async def _groups(self) -> list[str]:
        admin = await self._connected()
        return sorted(group for group, kind, *_ in await admin.list_consumer_groups() if kind == "consumer")

    async def _committed(self, group: str) -> dict[TopicPartition, int]:
        admin = await self._connected()
        places = await admin.list_consumer_group_offsets(group)
        return {
            place: committed.offset
            for place, committed in places.items()
            if place.topic == self._topics.events and committed.offset >= 0
        }

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask, again while the cluster is on its way (a coordinator or a leader still being chosen)."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    try:
                        return await question()
                    except errors.KafkaError as error:
                        if not error.retriable or isinstance(error, errors.KafkaConnectionError):
                            raise
                    await asyncio.sleep(RETRY_SECONDS)
        except (errors.KafkaError, TimeoutError) as error:
            raise failure_of(error) from error

    async def _connected(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            await greet(self._connection, [])
            admin = AIOKafkaAdminClient(
                **self._connection.options(), request_timeout_ms=int(GREET_SECONDS * 1000)
            )
            await admin.start()
            self._admin = admin
        return self._admin

    async def _connected_reader(self) -> AIOKafkaConsumer:
        """A consumer outside any group: aiokafka's admin client cannot tell a partition's end."""
        if self._reader is None:
            reader = AIOKafkaConsumer(**self._connection.options())
            await reader.start()
            self._reader = reader
        return self._reader


def _smaller(value: str | None, wanted: str) -> bool:
    """Whether a limit falls short; -1 is Kafka's word for no limit."""
    return value is None or (value != "-1" and int(value) < int(wanted))


def _not_done(what: str, code: int, message: str | None) -> Exception:
    error = errors.for_code(code)
    if error.retriable:
        return failure_of(error(message))
    return Misconfigured("topic_not_changed", f"Kafka refuses to {what}: {message or error.__name__}")
