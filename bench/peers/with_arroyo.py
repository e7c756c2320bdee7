"""arroyo, with a batch step before the database: `… BOOTSTRAP TOPIC GROUP DATABASE_URL`."""

import signal
import sys

import psycopg
from arroyo import Topic
from arroyo.backends.kafka import KafkaConsumer
from arroyo.backends.kafka.configuration import build_kafka_consumer_configuration
from arroyo.commit import ONCE_PER_SECOND
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import CommitOffsets, ProcessingStrategyFactory, RunTask
from arroyo.processing.strategies.batching import BatchStep

from bench.peers.ledger import STORE, columns
from bench.peers.payload import decode

bootstrap, topic, group, database = sys.argv[1:]


def decoded(message):
    return decode(message.payload.value).row


class Factory(ProcessingStrategyFactory):
    def create_with_partitions(self, commit, partitions):
        if not database:
            return RunTask(decoded, CommitOffsets(commit))
        connection = psycopg.connect(database, cursor_factory=psycopg.RawCursor, autocommit=True)

        def store(message):
            connection.execute(STORE, columns([value.payload for value in message.payload]))

        return RunTask(decoded, BatchStep(2_000, 1.0, RunTask(store, CommitOffsets(commit))))


configuration = build_kafka_consumer_configuration(
    {}, bootstrap_servers=[bootstrap], group_id=group, auto_offset_reset="earliest"
)
processor = StreamProcessor(KafkaConsumer(configuration), Topic(topic), Factory(), ONCE_PER_SECOND)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: processor.signal_shutdown())
    processor.run()
