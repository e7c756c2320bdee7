"""A process of its own on an embedded log: `python -m tests.broker.child append|hold LOG EVENTS_TOPIC`."""

import asyncio
import sys
from pathlib import Path

from broker.embedded import EmbeddedConsumer, EmbeddedProducer
from broker.embedded_log import EmbeddedLog
from broker.topics import Topics
from events.runtime import SystemRuntime
from tests.broker.logs import PARTITIONS, joined


async def append(log: EmbeddedLog) -> None:
    """Append for ever; a line for each record as soon as it is confirmed."""
    producer = EmbeddedProducer(log)
    await producer.start()
    for number in range(1_000_000):
        place = await producer.append(log.topics.events, b"%d" % number, key=b"k", headers=[])
        print(*place, number, flush=True)


async def hold(log: EmbeddedLog) -> None:
    """Be the group's consumer for ever; a line once it is."""
    consumer = EmbeddedConsumer(log, "readers")

    async def nothing() -> None: ...

    await joined(consumer, on_revoked=nothing)
    print("holding", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    task, path, events = sys.argv[1:]
    log = EmbeddedLog(Path(path), Topics(events=events, partitions=PARTITIONS), SystemRuntime())
    asyncio.run({"append": append, "hold": hold}[task](log))
