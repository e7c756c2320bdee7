"""Quix Streams, with a batching sink for the effects: `… BOOTSTRAP TOPIC GROUP DATABASE_URL`."""

import sys
import tempfile

import psycopg
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from bench.peers.ledger import STORE, columns, row_of

bootstrap, topic, group, database = sys.argv[1:]


class LedgerSink(BatchingSink):
    def setup(self) -> None:
        self._connection = psycopg.connect(database, cursor_factory=psycopg.RawCursor, autocommit=True)

    def write(self, batch: SinkBatch) -> None:
        self._connection.execute(STORE, columns([item.value for item in batch]))


app = Application(
    broker_address=bootstrap,
    consumer_group=group,
    auto_offset_reset="earliest",
    commit_interval=1.0,
    commit_every=2_000 if database else 0,
    auto_create_topics=False,
    state_dir=tempfile.mkdtemp(),
    loglevel="WARNING",
)
events = app.dataframe(app.topic(topic, value_deserializer="json"))
rows = events.apply(row_of)
if database:
    rows.sink(LedgerSink())

if __name__ == "__main__":
    app.run()
