"""Reads Kafka from any place, outside any group."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition, errors

from broker.kafka_connection import KafkaConnection, failure_of, greet
from broker.kafka_consumer import record_of
from broker.protocols import Bounds, Record
from broker.topics import Topics

ANSWER_SECONDS = 20.0
FETCH_MS = 1000

T = TypeVar("T")


class KafkaHistory:
    """A `History` on Kafka."""

    def __init__(self, connection: KafkaConnection, topics: Topics) -> None:
        self._connection = connection
        self._topic = topics.events
        self._client: AIOKafkaConsumer | None = None
        self._partitions: list[TopicPartition] = []
        self._placed: tuple[TopicPartition, int] | None = None
        """The partition that is read, and where its next record is expected."""

    async def start(self) -> None:
        await greet(self._connection, [self._topic])
        client = AIOKafkaConsumer(
            **self._connection.options(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # what retention has deleted meanwhile is left out
            max_partition_fetch_bytes=16 * 1024 * 1024,
        )
        await _asked(client.start)
        self._client = client
        client.assign([TopicPartition(self._topic, 0)])  # makes the client look the topic up
        numbers = await _asked(self._numbers)
        self._partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        client.assign(self._partitions)
        client.pause(*self._partitions)

    async def bounds(self) -> dict[int, Bounds]:
        client = self._started()
        starts = await _asked(lambda: client.beginning_offsets(self._partitions))
        ends = await _asked(lambda: client.end_offsets(self._partitions))
        return {place.partition: Bounds(starts[place], ends[place]) for place in self._partitions}

    async def offsets_at(self, ms: int) -> dict[int, int]:
        client = self._started()
        ends = await _asked(lambda: client.end_offsets(self._partitions))
        found = await _asked(lambda: client.offsets_for_times(dict.fromkeys(self._partitions, max(0, ms))))
        return {
            place.partition: ends[place] if (at := found.get(place)) is None else at.offset
            for place in self._partitions
        }

    async def read(self, partition: int, offset: int, max_records: int) -> list[Record]:
        client, place = self._started(), TopicPartition(self._topic, partition)
        if self._placed != (place, offset):
            if self._placed is not None:
                client.pause(self._placed[0])
            client.resume(place)
            client.seek(place, offset)
        self._placed = None  # an error may leave the client anywhere
        records = await _asked(lambda: self._some(place, max_records))
        self._placed = (place, records[-1].next_offset if records else offset)
        return records

    async def stop(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.stop()

    async def _some(self, place: TopicPartition, max_records: int) -> list[Record]:
        client = self._started()
        (end,) = (await client.end_offsets([place])).values()
        while True:
            got = await client.getmany(place, timeout_ms=FETCH_MS, max_records=max_records)
            if records := [record_of(each) for batch in got.values() for each in batch]:
                return records
            if await client.position(place) >= end:
                return []

    async def _numbers(self) -> set[int]:
        client = self._started()
        while not (numbers := client.partitions_for_topic(self._topic)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # the metadata is on its way, and nobody tells when it is there
        return set(numbers)

    def _started(self) -> AIOKafkaConsumer:
        assert self._client is not None
        return self._client


async def _asked(question: Callable[[], Awaitable[T]]) -> T:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await question()
    except (errors.KafkaError, TimeoutError) as error:
        raise failure_of(error) from error
