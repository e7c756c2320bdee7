"""The yardstick, as a process: aiokafka, msgspec, a commit per batch, and nothing done with the events.

`python -m bench.raw_loop BOOTSTRAP TOPIC GROUP`; ends with a signal.
"""

import sys

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer

BATCH = 2_000


class Customer(msgspec.Struct):
    id: str | None = None


class Order(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    amount: int | None = None
    total_amount: int | None = None
    total_discount_amount: int | None = None


class Voucher(msgspec.Struct):
    type: str | None = None


class Redemption(msgspec.Struct):
    id: str
    date: str
    customer_id: str | None = None
    result: str | None = None
    status: str | None = None


class Payload(msgspec.Struct):
    """Only the fields that a ledger needs."""

    redemption: Redemption
    customer: Customer | None = None
    order: Order | None = None
    voucher: Voucher | None = None


async def consume(bootstrap: str, topic: str, group: str) -> None:
    decode = msgspec.json.Decoder(Payload).decode
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    while True:
        batches = await consumer.getmany(timeout_ms=500, max_records=BATCH)
        for records in batches.values():
            for record in records:
                decode(record.value)
        if batches:
            await consumer.commit()


if __name__ == "__main__":
    uvloop.run(consume(*sys.argv[1:]))
