"""What lies on the dead-letters topic."""

import asyncio
from collections import Counter

from aiokafka import AIOKafkaConsumer

TOPIC = "redemptions.dead-letters"
READ_SECONDS = 60.0


def published_letters(bootstrap_servers: str) -> Counter[str]:
    """How often each dead letter was put there, by its id."""
    return asyncio.run(_read(bootstrap_servers))


async def _read(bootstrap_servers: str) -> Counter[str]:
    found = Counter[str]()
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(READ_SECONDS):
            places = consumer.assignment()
            ends = await consumer.end_offsets(places)
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(*places, timeout_ms=500)).values():
                    found.update(
                        dict(record.headers)["redemptions-dead-letter-id"].decode() for record in records
                    )
    finally:
        await consumer.stop()
    return found
