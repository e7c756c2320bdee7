"""A nursery for the session, and a site for each test."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.nursery import Nursery
from tests.end_to_end.postgres import OwnPostgres
from tests.end_to_end.processes import Site
from tests.services.kafka import Kafka

MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("nursery") / "socket")
    yield nursery
    nursery.close()


@pytest.fixture
def make_site(nursery: Nursery, tmp_path: Path) -> Iterator[MakeSite]:
    sites: list[Site] = []

    def make(**settings: object) -> Site:
        directory = tmp_path / f"site-{len(sites)}"
        directory.mkdir()
        sites.append(Site(directory, nursery, **settings))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[OwnPostgres]:
    """A server to be stopped and started, shared by the tests here: leave it running."""
    server = OwnPostgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def end_to_end_kafka(kafka_libs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker to be killed and started, shared by the tests here: leave it running."""
    broker = Kafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def cluster(make_site: MakeSite, own_postgres: OwnPostgres, end_to_end_kafka: Kafka) -> Site:
    """A site on Kafka and PostgreSQL, with topics and a database of its own, nothing running yet."""
    name = f"site_{uuid.uuid4().hex[:12]}"
    site = make_site(
        kafka_bootstrap_servers=end_to_end_kafka.bootstrap_servers,
        database_url=own_postgres.create(name),
        events_topic=f"{name}.events",
        dead_letters_topic=f"{name}.dead-letters",
        consumer_group=name,
        events_partitions=6,
        session_timeout=6,
    )
    for command in ("topics", "ensure"), ("db", "upgrade"):
        answer = site.ask(*command)
        assert answer.code == 0, answer
    return site
