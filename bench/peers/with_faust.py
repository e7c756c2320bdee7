"""faust-streaming, with `take` before the database: `… BOOTSTRAP TOPIC GROUP DATABASE_URL`."""

import sys

import asyncpg
import faust
import mode.loop

from bench.peers.ledger import STORE, columns, row_of

bootstrap, topic, group, database = sys.argv[1:]
mode.loop.use("uvloop")

app = faust.App(
    group,
    broker=f"kafka://{bootstrap}",
    store="memory://",
    consumer_auto_offset_reset="earliest",
    broker_commit_interval=1.0,
    topic_disable_leader=True,
    web_enabled=False,
)
events = app.topic(topic, key_type=bytes, value_serializer="json")


if database:

    @app.agent(events)
    async def store(stream) -> None:
        pool = await asyncpg.create_pool(database)
        async for payloads in stream.take(2_000, within=1.0):
            await pool.execute(STORE, *columns([row_of(payload) for payload in payloads]))

else:

    @app.agent(events)
    async def read(stream) -> None:
        async for payload in stream:
            row_of(payload)


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()
