"""A week on the embedded log and SQLite: retention deletes, operators discard and prune, and still nothing is
lost, nothing is done twice, and nothing grows but the books."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from broker.embedded import EmbeddedConsumer, EmbeddedProducer
from broker.embedded_admin import EmbeddedAdmin
from broker.embedded_log import EmbeddedLog
from broker.topics import Topics
from events.failures import Refused
from events.runtime import SystemRuntime
from handlers.loyalty.policy import STANDARD
from handlers.loyalty.verification import verify
from storage.database import Database
from storage.letter_queries import LetterFilter
from storage.pruning import prune
from storage.schema import JobKind
from tests.consumer.bench import GROUP, LETTERS, Bench, a_rollback, a_success, until
from tests.consumer.orders import worked_on
from tests.consumer.scripted import TOPIC, ScriptedConsumer, ScriptedLog
from tests.services.databases import prepared

HOUR = 3600.0
STEP = 8 * HOUR
DAYTIMES = range(1, 22)
RETENTION, KEPT_DAYS = 24 * HOUR, 2
TENANT = (("tenant", b"default"),)


class Calendar(SystemRuntime):
    """The machine's clock, set ahead by hand: log and database live by it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class Worker(Bench):
    """One that runs for eight hours."""

    def __init__(self, database: Database, embedded: EmbeddedLog, producer: EmbeddedProducer) -> None:
        self.embedded = embedded
        super().__init__(database, cast(ScriptedLog, producer))

    def consumer_of(self, log: ScriptedLog) -> ScriptedConsumer:
        return cast(ScriptedConsumer, EmbeddedConsumer(self.embedded, GROUP))

    async def until_idle(self) -> None:
        async def idle() -> bool:
            lag = await EmbeddedAdmin(self.embedded).lag([GROUP])
            return not lag[GROUP] and not await self.pending()

        await until(idle)


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
async def database(tmp_path: Path, calendar: Calendar) -> AsyncIterator[Database]:
    async with prepared(f"sqlite:///{tmp_path / 'store.db'}", calendar) as database:
        yield database


@pytest.fixture
def embedded(tmp_path: Path, calendar: Calendar) -> EmbeddedLog:
    topics = Topics(events=TOPIC, dead_letters=LETTERS, partitions=2, retention=RETENTION)
    return EmbeddedLog(tmp_path / "log.db", topics, calendar)


@pytest.fixture
async def producer(embedded: EmbeddedLog) -> AsyncIterator[EmbeddedProducer]:
    producer = EmbeddedProducer(embedded)
    await producer.start()
    yield producer
    await producer.stop()


def told_in(step: int) -> list[bytes]:
    """A sale that stays, one that is undone in the next step, a resend of half a week ago, one whose call is
    refused, a torn body."""
    bodies = [a_success(f"r_stays_{step}"), a_success(f"r_undone_{step}"), a_success(f"r_refused_{step}")]
    bodies += [a_rollback(f"r_undone_{step - 1}")] if step > 1 else []
    bodies += [a_success(f"r_stays_{step - 10}"), a_rollback(f"r_undone_{step - 10}")] if step > 10 else []
    return [*bodies, b'{"torn' + str(step).encode()]


async def test_a_week(
    database: Database, embedded: EmbeddedLog, producer: EmbeddedProducer, calendar: Calendar
) -> None:
    calls: list[str] = []
    pruned: dict[str, int] = {}
    largest = 0
    for step in DAYTIMES:
        for body in told_in(step):
            await producer.append(TOPIC, body, key=b"cust_1", headers=TENANT)
        worker = Worker(database, embedded, producer)
        worker.caller.answers[f"r_refused_{step}"] = [Refused("no", "no")]
        await worker.settle_all()
        assert worker.progress.ready() == []
        calls += [key for key, _ in worker.caller.calls]
        if step % 3 == 0:  # every morning
            await worked_on(database, producer, LetterFilter(), JobKind.DISCARD)
            await prune(database, KEPT_DAYS, counts := {})
            pruned = {name: pruned.get(name, 0) + count for name, count in counts.items()}
        await embedded.trim()
        largest = max(largest, await _kept_in(embedded))
        calendar.ahead += STEP

    # Nothing lost, nothing twice, although neither log nor letters know of most of it any more.
    sales = {f"r_{kind}_{step}" for kind in ("stays", "undone", "refused") for step in DAYTIMES}
    undone = {f"r_undone_{step}" for step in DAYTIMES[:-1]}
    expected = {f"caller:default:succeeded:{id}" for id in sales}
    expected |= {f"caller:default:rolled_back:{id}" for id in undone}
    assert sorted(calls) == sorted(expected)
    assert await worker.rows("SELECT id FROM sales ORDER BY id") == [(id,) for id in sorted(sales)]
    assert await worker.points() == 100 * len(sales - undone)
    async with database.snapshot() as snapshot:
        assert [finding async for finding in verify(snapshot, STANDARD)] == []

    # Nothing grows but the books: a day in the log, two days and the last morning's in the letters.
    assert largest <= 4 * 8
    days = KEPT_DAYS + 1
    assert await worker.scalar("SELECT count(*) FROM dead_letters") <= days * 3 * 2
    assert await worker.scalar("SELECT count(*) FROM job_items") <= days * 3 * 2
    orphans = "SELECT count(*) FROM letter_history WHERE letter NOT IN (SELECT id FROM dead_letters)"
    assert await worker.scalar(orphans) == 0
    assert await worker.records() == 0
    assert pruned["letters"] >= (len(DAYTIMES) - days * 3) * 2
    assert pruned["records"] == 0


async def _kept_in(embedded: EmbeddedLog) -> int:
    consumer = EmbeddedConsumer(embedded, "onlooker")
    bounds = await consumer.bounds(range(2))
    return sum(bound.end - bound.start for bound in bounds.values())
