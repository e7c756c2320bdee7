"""The events: the documented example with other values in each, and topics filled with them."""

import asyncio
import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bench.commands import REDEMPTIONS, environment

EXAMPLE = Path(__file__).parent.parent / "examples" / "customer.redemption.succeeded.json"
PARTITIONS = 12
DEAD_LETTERS = "bench.dead-letters"
BATCH_BYTES = 256 * 1024
"""As the ingress batches under load."""
IN_FLIGHT = 2_000
HEADERS = [
    ("tenant", b"default"),
    ("received-at", b"2024-03-13T17:36:00.000Z"),
    ("request-id", b"0" * 32),
]

SLOTS = {
    "cust_IdgAFZxYwwHctOk9pPuMu308": "cust_%(customer)s",
    "Jack Webhook": "Customer %(name)s",
    "jck-wbhk": "%(source)s",
    "ord_p6B1A0y805yUQQaCw4bC6Fbk": "ord_%(order)s",
    "prod_0df14b684f58f282d4": "prod_%(first)s",
    "prod_0de0c540ad917bb410": "prod_%(second)s",
    "camp_iRMdcq07g9W4dOSRXuTovupi": "camp_%(campaign)s",
    "Spring Discounts": "Discounts %(campaign)s",
    "v_eaxx9mNFwWZWZGBwkZf3JpN7yJZlU9Y7": "v_%(voucher)s",
    "SPRING-2024-hOg": "SPRING-2024-%(code)s",
    "r_0e6ff48b91cfa02e97": "r_%(redemption)s",
    "track_8RFQINPxgc+pykybVOUEXQ==": "track_%(tracking)s==",
    "11499": "%(amount)s",
    "10349": "%(total)s",
    "1150": "%(discount)s",
    "3500": "%(cheap)s",
    "7999": "%(dear)s",
    "2024-03-13T17:35": "2024-03-%(day)sT%(hour)s:%(minute)s",
}
"""What differs from event to event. Equal in all of them: keys and words, as from one merchant's account."""


class Events(NamedTuple):
    """So many events, each a redemption and an order of its own, of so many customers."""

    number: int
    customers: int

    @property
    def topic(self) -> str:
        return f"bench.events.{self.number}-of-{self.customers}"

    def bodies(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, body) of each; the same ones each time."""
        chance, template = random.Random(1), _template()
        for number in range(1, self.number + 1):
            values = _values(number, self.customers, chance)
            yield f"cust_{values['customer']}".encode(), (template % values).encode()


def _template() -> str:
    text = json.dumps(json.loads(EXAMPLE.read_text()), separators=(",", ":"))
    for example, slot in SLOTS.items():
        text = text.replace(example, slot)
    return text


def _values(number: int, customers: int, chance: random.Random) -> dict[str, Any]:
    cheap, dear = chance.randrange(1_000, 20_000), chance.randrange(1_000, 90_000)
    discount = (cheap + dear) // 10
    bits = chance.getrandbits(128)
    return {
        # Neighbours in time are strangers in every index, as in life, and compress as badly.
        "redemption": f"{chance.getrandbits(72):018x}",
        "order": f"{chance.getrandbits(96):024x}",
        "customer": _id(chance.randrange(customers), 24),
        "name": f"{bits % 100_000:x}",
        "source": f"crm-{bits >> 96:08x}",
        "first": _id(chance.randrange(5_000), 18),
        "second": _id(chance.randrange(5_000), 18),
        "campaign": _id(bits % 20, 24),
        "voucher": f"{bits:032x}",
        "code": f"{bits >> 96:08X}",
        "tracking": f"{bits >> 40:022x}",
        "amount": cheap + dear,
        "total": cheap + dear - discount,
        "discount": discount,
        "cheap": cheap,
        "dear": dear,
        "day": f"{number % 28 + 1:02}",
        "hour": f"{number % 24:02}",
        "minute": f"{number % 60:02}",
    }


def _id(number: int, digits: int) -> str:
    """The same for the same number, and unlike its neighbours'."""
    return hashlib.md5(number.to_bytes(8), usedforsecurity=False).hexdigest()[:digits]


async def preload(bootstrap: str, events: Events) -> None:
    """Fill the topic of `events`, unless an earlier run has."""
    made = await asyncio.to_thread(
        subprocess.run,
        [*REDEMPTIONS, "topics", "ensure"],
        env=environment(bootstrap, events.topic, DEAD_LETTERS, events_partitions=PARTITIONS),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(f"no topic: {made.stderr}")
    held = await held_in(bootstrap, events.topic)
    if held not in (0, events.number):
        # A run that was stopped half-way: begin anew under the same name.
        await _delete(bootstrap, events.topic)
        await preload(bootstrap, events)
    elif held == 0:
        await _fill(bootstrap, events)


async def held_in(bootstrap: str, topic: str) -> int:
    """Records appended so far."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topic, each) for each in range(PARTITIONS)])
        return sum(ends.values())
    finally:
        await consumer.stop()


async def _delete(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():  # noqa: ASYNC110  nobody announces it
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def _fill(bootstrap: str, events: Events) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="lz4",
        max_batch_size=BATCH_BYTES,
        linger_ms=20,
        enable_idempotence=True,
    )
    await producer.start()
    try:
        waiting: list[asyncio.Future[Any]] = []
        for key, body in events.bodies():
            waiting.append(await producer.send(events.topic, body, key, headers=HEADERS))
            if len(waiting) == IN_FLIGHT:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
