"""Owns appending to Kafka: an idempotent producer that is replaced when it can no longer be trusted."""

import asyncio
import logging
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer, errors

from broker.kafka_admin import KafkaAdmin
from broker.kafka_connection import GREET_SECONDS, KafkaConnection, failure_of, greet
from broker.protocols import Headers, TooLarge
from broker.topics import Topics
from events.failures import Unavailable

log = logging.getLogger(__name__)

BATCH_BYTES = 256 * 1024
"""aiokafka's own 16 KiB holds three events and makes every append wait for those before it."""
REQUEST_SECONDS = 10.0
APPEND_SECONDS = 30.0
"""An idempotent batch never expires inside aiokafka; past this we stop waiting for it."""
STOP_SECONDS = 10.0
APPENDS_AT_ONCE = 500
"""aiokafka lets those that wait for room in a batch race for it, and some never win; ours stand in line."""

TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)


class KafkaProducer:
    """A `Producer` on Kafka: acks from all in-sync replicas, no duplicates from its own retries."""

    def __init__(self, connection: KafkaConnection, topics: Topics) -> None:
        self._connection = connection
        self._topics = topics
        self._client: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(APPENDS_AT_ONCE)
        self._stopped = False

    async def start(self) -> None:
        """Raises Unavailable (no answer, or a topic is missing) or Misconfigured (refused, or a topic that
        takes only smaller records)."""
        await greet(self._connection, self._topics.names)
        admin = KafkaAdmin(self._connection, self._topics)
        try:
            await admin.require_room()
        finally:
            await admin.close()
        await self._ready_client()

    async def append(
        self, topic: str, value: bytes, *, key: bytes | None, headers: Headers
    ) -> tuple[int, int]:
        """Raises TooLarge or Unavailable, whatever the cause: the sender is to try again in any case."""
        try:
            async with asyncio.timeout(APPEND_SECONDS), self._room:
                placed = await (await self._send(topic, value, key, headers))
        except TOO_LARGE as error:
            raise TooLarge(f"Kafka takes no record of this size on {topic}") from error
        except (errors.KafkaError, TimeoutError) as error:
            raise Unavailable("kafka_unavailable", str(failure_of(error))) from error
        return placed.partition, placed.offset

    async def stop(self) -> None:
        """Flush and close. What Kafka does not confirm within 10 s was never confirmed to anybody."""
        self._stopped = True
        if self._connecting:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._client:
            self._retire(self._client)
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def _send(
        self, topic: str, value: bytes, key: bytes | None, headers: Headers
    ) -> "asyncio.Future[Any]":
        """Hand the record over; the future says where it was placed.

        It is not aiokafka's own: a caller that is cancelled would cancel that, and then nobody would see it
        fail and replace the producer.
        """
        while True:
            client = await self._ready_client()
            try:
                delivery: asyncio.Future[Any] = await client.send(
                    topic, value, key=key, headers=list(headers)
                )
            except errors.ProducerClosed:
                continue  # replaced while we waited for room: it never took the record
            except errors.KafkaError:
                if client._sender.sender_task.done():
                    self._retire(client)  # its sending task died: it would refuse for ever
                raise
            placed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            delivery.add_done_callback(partial(self._settled, client, placed))
            return placed

    def _settled(
        self, client: AIOKafkaProducer, placed: "asyncio.Future[Any]", delivery: "asyncio.Future[Any]"
    ) -> None:
        error = delivery.exception()
        if error is not None:
            # The batch had taken its sequence numbers. Kafka never saw them, so it would refuse every later
            # batch of that partition as out of order; only a new producer id starts afresh.
            self._retire(client)
        if placed.done():  # nobody waits any more
            return
        if error is None:
            placed.set_result(delivery.result())
        else:
            placed.set_exception(error)

    def _retire(self, client: AIOKafkaProducer) -> None:
        if self._client is client:
            self._client = None
            task = asyncio.create_task(_close(client), name="close a Kafka producer")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _ready_client(self) -> AIOKafkaProducer:
        while not self._client:
            if self._stopped:
                raise Unavailable("producer_stopped", "The producer has been stopped")
            if not self._connecting or self._connecting.done():
                self._connecting = asyncio.create_task(self._connect(), name="connect a Kafka producer")
            connecting = self._connecting
            # Shared by all that wait, so one that is cancelled must not cancel it for the others.
            await asyncio.wait({connecting})
            if not connecting.cancelled():
                connecting.result()
        return self._client

    async def _connect(self) -> None:
        client = AIOKafkaProducer(
            **self._connection.options(),
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            # A batch above the topic's limit would be refused with records that fit.
            max_batch_size=min(BATCH_BYTES, self._topics.record_limit),
            max_request_size=self._topics.record_limit,
            # What comes while a request is under way goes with the next one; to wait longer gathers no more.
            linger_ms=0,
            request_timeout_ms=int(REQUEST_SECONDS * 1000),
            metadata_max_age_ms=30_000,
        )
        try:
            async with asyncio.timeout(GREET_SECONDS):
                await client.start()
                for topic in self._topics.names:
                    # Known now, so that no append waits for it: one that does hangs if the client closes.
                    await client.partitions_for(topic)
        except (errors.KafkaError, TimeoutError) as error:
            await _close(client)
            raise failure_of(error) from error
        except asyncio.CancelledError:
            await _close(client)
            raise
        self._client = client


async def _close(client: AIOKafkaProducer) -> None:
    """Flush for as long as may be, then let go: without a broker the flush would never end."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await client.stop()
    except (errors.KafkaError, TimeoutError) as error:
        log.warning("a Kafka producer was closed with records unconfirmed: %r", error)
        # Whoever still waits, aiokafka's own flush included, would otherwise wait for ever.
        client._message_accumulator.fail_all(errors.KafkaTimeoutError())
        await client._sender.close()
        await client.client.close()
