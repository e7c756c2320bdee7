"""The log under test, once embedded and once on Kafka, with its clients stopped whatever happens."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.protocols import Consumer, History, Producer
from tests.broker.logs import EmbeddedLogs, KafkaLog, Log, new_topics


class Clients:
    """Clients of one log; remembers them in order to stop them."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.topics = log.topics
        self.made: list[Producer | Consumer | History] = []

    async def producer(self) -> Producer:
        producer = self.log.producer()
        self.made.append(producer)
        await producer.start()
        return producer

    def consumer(self, group: str = "readers") -> Consumer:
        consumer = self.log.consumer(f"{group}-{self.topics.events}")
        self.made.append(consumer)
        return consumer

    async def history(self) -> History:
        history = self.log.history()
        self.made.append(history)
        await history.start()
        return history

    async def stop(self) -> None:
        for client in reversed(self.made):
            await client.stop()


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def bare_log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    """A log without topics."""
    if request.param == "kafka":
        return KafkaLog(request.getfixturevalue("kafka"), new_topics())
    return EmbeddedLogs(tmp_path / "log.db", new_topics())


@pytest.fixture
async def clients(bare_log: Log) -> AsyncIterator[Clients]:
    """Clients of a log that has its topics."""
    admin = bare_log.admin()
    await admin.ensure_topics()
    await admin.close()
    clients = Clients(bare_log)
    yield clients
    await clients.stop()
