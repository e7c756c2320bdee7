"""A plain loop on confluent-kafka, in batches: `… BOOTSTRAP TOPIC GROUP DATABASE_URL`; ends with a signal."""

import sys

import psycopg
from confluent_kafka import Consumer, KafkaException

from bench.peers.ledger import STORE, columns
from bench.peers.payload import decode

bootstrap, topic, group, database = sys.argv[1:]


def consume() -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    connection = (
        psycopg.connect(database, cursor_factory=psycopg.RawCursor, autocommit=True) if database else None
    )
    while True:
        messages = consumer.consume(2_000, timeout=0.1)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        rows = [decode(message.value()).row for message in messages]
        if rows and connection:
            connection.execute(STORE, columns(rows))
        if rows:
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    consume()
