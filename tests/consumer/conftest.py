"""A worker on an empty database, and no long waits."""

from collections.abc import Iterator

import pytest
import structlog

from storage.database import Database
from tests.consumer.bench import Bench
from tests.consumer.scripted import ScriptedLog
from tests.services.databases import FlakyDatabase


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
def bench(database: Database, log: ScriptedLog) -> Bench:
    return Bench(database, log)


@pytest.fixture
def flaky(database: Database) -> FlakyDatabase:
    return FlakyDatabase(database)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker looks at every second it looks at often: tests need not wait for that."""
    monkeypatch.setattr("consumer.intake.FETCH_SECONDS", 0.02)
    monkeypatch.setattr("consumer.watch.WATCH_SECONDS", 0.02)
    monkeypatch.setattr("consumer.delivery.POLL_SECONDS", 0.02)
    monkeypatch.setattr("consumer.delivery.TAKE_OVER_SECONDS", 0.0)
    monkeypatch.setattr("consumer.delivery.SETTLING_SECONDS", 0.0)
    monkeypatch.setattr("consumer.delivery.GATHER_SECONDS", 0.0)
    monkeypatch.setattr("consumer.exchange.PREDECESSOR_SECONDS", 0.02)
    monkeypatch.setattr("consumer.waiting.LONGEST_SECONDS", 0.05)
    monkeypatch.setattr("consumer.waiting.MISCONFIGURED_SECONDS", 0.05)


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """As in production: drawing a traceback with all its values takes a second."""
    structlog.configure([structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])
    yield
    structlog.reset_defaults()
