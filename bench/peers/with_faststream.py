"""FastStream, per message or per batch: `… BOOTSTRAP TOPIC GROUP DATABASE_URL message|batch auto|ack`.

An empty URL: decoding into a model, as its documentation does, and nothing else.
`auto`: the client commits by itself every second; `ack`: after the handler, so that nothing is lost.
"""

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from pydantic import BaseModel

from bench.peers.ledger import STORE, Row, columns

bootstrap, topic, group, database, shape, commit = sys.argv[1:]
broker = KafkaBroker(bootstrap, logger=None)
pool: asyncpg.Pool


class Customer(BaseModel):
    id: str


class Order(BaseModel):
    id: str
    total_amount: int


class Redemption(BaseModel):
    id: str
    date: str


class Payload(BaseModel):
    redemption: Redemption
    customer: Customer
    order: Order

    @property
    def row(self) -> Row:
        return self.redemption.id, self.customer.id, self.order.total_amount // 100


@asynccontextmanager
async def lifespan():
    global pool
    if not database:
        yield
        return
    async with asyncpg.create_pool(database) as pool:
        yield


async def store(rows: list[Row]) -> None:
    if database:
        await pool.execute(STORE, *columns(rows))
    else:
        # A handler that awaits nothing starves the client's heartbeats, and is thrown out of its group.
        await asyncio.sleep(0)


common: dict[str, Any] = {"group_id": group, "auto_offset_reset": "earliest"}
if commit == "auto":
    common |= {"ack_policy": AckPolicy.ACK_FIRST, "auto_commit_interval_ms": 1_000}
else:
    common |= {"ack_policy": AckPolicy.ACK}

if shape == "message":

    @broker.subscriber(topic, **common)
    async def handle(payload: Payload) -> None:
        await store([payload.row])

else:

    @broker.subscriber(topic, batch=True, max_records=2_000, **common)
    async def handle_batch(payloads: list[Payload]) -> None:
        await store([payload.row for payload in payloads])


if __name__ == "__main__":
    uvloop.run(FastStream(broker, lifespan=lifespan, logger=None).run())
