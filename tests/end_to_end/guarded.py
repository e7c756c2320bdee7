"""A Kafka behind TLS and SCRAM, and the rights that docs/security.md hands out, read from that page."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import trustme
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest
from cryptography.hazmat.primitives import serialization

from tests.services.kafka import Kafka

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
RESOURCES = {"topic": 2, "group": 3}
PATTERNS = {"literal": 3, "prefixed": 4}
OPERATIONS = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Describe": 8,
    "DescribeConfigs": 10,
    "AlterConfigs": 11,
}
ALLOW = 3


class Right(NamedTuple):
    resource: str
    name: str
    pattern: str
    principal: str
    operation: str


def documented_rights() -> Iterator[Right]:
    for line in re.findall(r"^    (--allow-principal .*)$", PAGE.read_text(), flags=re.MULTILINE):
        options = re.findall(r"--([a-z-]+) (\S+)", line)
        given = dict(options)
        resource = "topic" if "topic" in given else "group"
        pattern = given.get("resource-pattern-type", "literal")
        for option, value in options:
            if option == "operation":
                yield Right(resource, given[resource], pattern, given["allow-principal"], value)


def documented_grants() -> list[str]:
    [block] = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return [statement.strip() for statement in block.split(";") if statement.strip()]


class GuardedKafka(Kafka):
    """Its second port speaks TLS and asks for a password. Who comes by the first may do everything."""

    def __init__(self, directory: Path, users: dict[str, str]) -> None:
        authority = trustme.CA()
        self.authority = directory / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        super().__init__(
            directory,
            {
                "listeners": "PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port,"
                "SASL_SSL://127.0.0.1:$sasl_port",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
                "SASL_SSL:SASL_SSL",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security."
                "scram.ScramLoginModule required;",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(_identity(authority, directory)),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            },
            users,
        )

    def allow(self, rights: list[Right]) -> None:
        asyncio.run(self._allow(rights))

    async def _allow(self, rights: list[Right]) -> None:
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers)
        await client.bootstrap()
        for right in rights:
            answer = await client.send(
                client.get_random_node(),
                CreateAclsRequest(
                    RESOURCES[right.resource],
                    right.name,
                    PATTERNS[right.pattern],
                    right.principal,
                    "*",
                    OPERATIONS[right.operation],
                    ALLOW,
                ),
            )
            assert [code for code, *_ in answer.creation_responses] == [0], (right, answer)
        await client.close()

    async def topics(self) -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()


def _identity(authority: trustme.CA, directory: Path) -> Path:
    """Key and certificate in one file; Kafka reads keys in PKCS #8 alone."""
    issued = authority.issue_cert("127.0.0.1")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    file = directory / "identity.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + b"".join(each.bytes() for each in issued.cert_chain_pems)
    )
    return file
