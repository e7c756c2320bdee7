"""Owns how Kafka is reached, and which of its refusals are ours to mend and which to wait out."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Iterable
from typing import Any

from aiokafka import errors
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.metadata import MetadataRequest
from msgspec import Struct

from broker import kafka_writing
from events.failures import Failure, Misconfigured, Unavailable

GREET_SECONDS = 10.0
"""How long a broker may take to answer before we say that it does not."""

REFUSALS = (
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.InvalidGroupIdError,
    errors.InvalidSessionTimeoutError,
    errors.InconsistentGroupProtocolError,
    ssl.SSLCertVerificationError,
)


# At every try, twice a second while a broker is away: the failure is raised to us as well, and told by us.
logging.getLogger("aiokafka").addFilter(lambda record: not str(record.msg).startswith("Unable connect to"))

kafka_writing.mend()


class KafkaConnection(Struct, frozen=True, kw_only=True):
    """Where the brokers are and who we are to them."""

    bootstrap_servers: str
    """`host:port`, comma-separated."""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    def __repr__(self) -> str:
        # The generated one would put the password into every traceback.
        return f"KafkaConnection({self.bootstrap_servers})"

    def options(self) -> dict[str, Any]:
        """The keywords that every aiokafka client takes. Raises Misconfigured for unreadable certificates."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self._ssl_context()
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context: ssl.SSLContext = create_ssl_context(
                cafile=self.ssl_cafile, certfile=self.ssl_certfile, keyfile=self.ssl_keyfile
            )
        except (OSError, ValueError) as wrong:
            raise Misconfigured(
                "kafka_certificates", f"Cannot read the Kafka certificates: {wrong}"
            ) from wrong
        return context


def failure_of(error: BaseException) -> Failure:
    """What an aiokafka error means for us."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, REFUSALS):
        return Misconfigured("kafka_refused", f"Kafka refuses us: {error or type(error).__name__}")
    return Unavailable("kafka_unavailable", f"Kafka did not answer: {type(error).__name__}: {error}")


async def answers(*questions: Awaitable[Any]) -> list[Any]:
    """The answers, in order. Raises Unavailable or Misconfigured."""
    try:
        async with asyncio.timeout(GREET_SECONDS):
            return await asyncio.gather(*questions)
    except (errors.KafkaError, TimeoutError) as error:
        raise failure_of(error) from error


async def greet(connection: KafkaConnection, topics: Iterable[str]) -> None:
    """Check that a broker answers, lets us in and has the topics.

    Raises Misconfigured if it refuses us, Unavailable if it does not answer or a topic is not there yet.
    """
    client = await _open_client(connection)
    try:
        async with asyncio.timeout(GREET_SECONDS):
            # A broker with auto.create.topics.enable would answer the clients' own first request by
            # creating the topic with its own limits. Ours asks without creating, and comes before theirs.
            request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
            answer = await client.send(client.get_random_node(), request)
        for topic in answer.to_object()["topics"]:
            _check_topic(topic["topic"], topic["error_code"])
    except (errors.KafkaError, TimeoutError) as error:
        raise failure_of(error) from error
    finally:
        await client.close()


def _check_topic(name: str, code: int) -> None:
    error = errors.for_code(code)
    if issubclass(error, errors.TopicAuthorizationFailedError):
        raise Misconfigured(
            "kafka_refused", f"Kafka does not let us use the topic {name}: grant access to it"
        )
    if issubclass(error, errors.UnknownTopicOrPartitionError):
        raise Unavailable(
            "topic_missing", f"The topic {name} does not exist: run `redemptions topics ensure`"
        )
    if error is not errors.NoError:
        raise failure_of(error(name))


async def _open_client(connection: KafkaConnection) -> AIOKafkaClient:
    """A bare client that knows the cluster."""
    client = AIOKafkaClient(**connection.options(), request_timeout_ms=int(GREET_SECONDS * 1000))
    try:
        await client.bootstrap()
    except ValueError as wrong:
        raise Misconfigured(
            "kafka_address", f"Not a Kafka address: {connection.bootstrap_servers}"
        ) from wrong
    except errors.KafkaError as error:
        await client.close()
        silence = Unavailable(
            "kafka_unavailable", f"no Kafka broker answers at {connection.bootstrap_servers}"
        )
        raise await _why_not(connection) or silence from error
    return client


async def _why_not(connection: KafkaConnection) -> Failure | None:
    """Why no broker let us in: aiokafka logs the reason and tells its caller only that it failed."""
    options = connection.options()
    options.pop("bootstrap_servers")
    for host, port, _ in collect_hosts(connection.bootstrap_servers):
        try:
            conn = await create_conn(host, port, **options, request_timeout_ms=int(GREET_SECONDS * 1000))
        except REFUSALS as refusal:
            return failure_of(refusal)
        except (OSError, errors.KafkaError, TimeoutError):
            continue
        conn.close()
    return None
