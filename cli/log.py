"""The log that the settings ask for: Kafka, or the embedded one."""

from pathlib import Path
from typing import NamedTuple, Protocol

from broker.embedded import EmbeddedConsumer, EmbeddedProducer
from broker.embedded_admin import EmbeddedAdmin
from broker.embedded_history import EmbeddedHistory
from broker.embedded_log import EmbeddedLog
from broker.kafka_admin import KafkaAdmin
from broker.kafka_connection import KafkaConnection
from broker.kafka_consumer import KafkaConsumer
from broker.kafka_history import KafkaHistory
from broker.kafka_membership import MemberSettings
from broker.kafka_producer import KafkaProducer
from broker.protocols import Consumer, History, LogAdmin, Producer
from broker.topics import Topics
from config.settings import Settings
from events.runtime import Runtime


class Log(Protocol):
    """One way to the log for each who needs one."""

    def producer(self) -> Producer: ...

    def consumer(self, group: str) -> Consumer: ...

    def admin(self) -> LogAdmin: ...

    def history(self) -> History: ...


class KafkaLog(NamedTuple):
    settings: Settings
    connection: KafkaConnection
    topics: Topics
    runtime: Runtime

    def producer(self) -> Producer:
        return KafkaProducer(self.connection, self.topics)

    def consumer(self, group: str) -> Consumer:
        member = MemberSettings(
            group=group,
            instance_id=self.settings.instance_id,
            session_timeout=self.settings.session_timeout,
        )
        return KafkaConsumer(self.connection, self.topics, member, self.runtime)

    def admin(self) -> LogAdmin:
        return KafkaAdmin(self.connection, self.topics)

    def history(self) -> History:
        return KafkaHistory(self.connection, self.topics)


def topics_of(settings: Settings) -> Topics:
    return Topics(
        events=settings.events_topic,
        dead_letters=settings.dead_letters_topic,
        partitions=settings.events_partitions,
        replication=settings.replication_factor,
        retention=settings.events_retention,
        max_body_bytes=settings.max_body_bytes,
    )


class EmbeddedFile(NamedTuple):
    log: EmbeddedLog

    def producer(self) -> Producer:
        return EmbeddedProducer(self.log)

    def consumer(self, group: str) -> Consumer:
        return EmbeddedConsumer(self.log, group)

    def admin(self) -> LogAdmin:
        return EmbeddedAdmin(self.log)

    def history(self) -> History:
        return EmbeddedHistory(self.log)


def log_of(settings: Settings, runtime: Runtime) -> Log:
    topics = topics_of(settings)
    if settings.kafka_bootstrap_servers is None:
        return EmbeddedFile(EmbeddedLog(settings.data_dir / "log.db", topics, runtime))
    password = settings.kafka_sasl_password
    connection = KafkaConnection(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=password.get_secret_value() if password else None,
        ssl_cafile=_path(settings.kafka_ssl_cafile),
        ssl_certfile=_path(settings.kafka_ssl_certfile),
        ssl_keyfile=_path(settings.kafka_ssl_keyfile),
    )
    return KafkaLog(settings, connection, topics, runtime)


def _path(file: Path | None) -> str | None:
    return None if file is None else str(file)
