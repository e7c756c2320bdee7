"""What lies on the dead-letters topic."""

import asyncio
from collections import Counter

from aiokafka import AIOKafkaConsumer, TopicPartition

TOPIC = "redemptions.dead-letters"
READ_SECONDS = 60.0


def published_letters(bootstrap_servers: str) -> Counter[str]:
    """How often each dead letter was put there, by its id."""
    return asyncio.run(_read(bootstrap_servers))


async def _read(bootstrap_servers: str) -> Counter[str]:
    found = Counter[str]()
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    await consumer.start()
    try:
        async with asyncio.timeout(READ_SECONDS):
            places = [TopicPartition(TOPIC, p) for p in await _partitions(consumer)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(*places, timeout_ms=500)).values():
                    found.update(
                        dict(record.headers)["redemptions-dead-letter-id"].decode() for record in records
                    )
    finally:
        await consumer.stop()
    return found


async def _partitions(consumer: AIOKafkaConsumer) -> set[int]:
    await consumer.topics()  # asks for all of the cluster's
    return set(consumer.partitions_for_topic(TOPIC) or ())
