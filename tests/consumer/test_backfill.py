"""Going over the past: one handler, each event once, whatever happens, and nobody else is disturbed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from broker.protocols import Bounds, Record
from consumer.asking import Asking
from consumer.backfill import Backfill, BackfillConfig, Covered
from consumer.batch_room import BATCH_BYTES
from consumer.drift import DriftWatch
from consumer.guard import GuardLimits
from consumer.metrics import WorkerMetrics
from consumer.newcomers import Newcomers
from consumer.progress import Progress
from consumer.settler import Settler, Stored
from consumer.waiting import Patience
from events.failures import Refused
from events.runtime import SystemRuntime
from handlers.loyalty.handler import Loyalty
from handlers.protocol import Handlers
from storage.database import Database
from storage.handler_states import resume_handler
from storage.letter_queries import LetterFilter
from storage.schema import State
from tests.consumer.bench import GROUP, Bench, Caller, Shop, a_rollback, a_success
from tests.consumer.orders import worked_on
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.consumer.test_guard import Always

READER = "redemptions.backfill.shop.0-"


class ScriptedHistory:
    """The scripted log as a `History`; a record's timestamp is what the test gives it."""

    def __init__(self, log: ScriptedLog) -> None:
        self._log = log
        self.before_read: Callable[[], None] = lambda: None

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def _records(self, partition: int) -> list[Record]:
        return self._log.topics[TOPIC][partition][self._log.starts[partition] :]

    async def bounds(self) -> dict[int, Bounds]:
        return {
            partition: Bounds(start, self._log.end(partition))
            for partition, start in self._log.starts.items()
        }

    async def offsets_at(self, ms: int) -> dict[int, int]:
        return {
            partition: next(
                (record.offset for record in self._records(partition) if record.timestamp >= ms),
                self._log.end(partition),
            )
            for partition in self._log.starts
        }

    async def read(self, partition: int, offset: int, max_records: int) -> list[Record]:
        self.before_read()
        found = [record for record in self._records(partition) if record.offset >= offset]
        return found[: min(max_records, 10)]


class Filling:
    """A backfill of one handler, as the command makes it."""

    def __init__(
        self, database: Database, log: ScriptedLog, handler: Any, *, begin: int = 0, end: int | None = None
    ) -> None:
        runtime = SystemRuntime()
        patience = Patience(Progress(runtime), runtime)
        handlers = Handlers((handler,)) if hasattr(handler, "apply") else Handlers((), (handler,))
        drift = DriftWatch(WorkerMetrics(CollectorRegistry()), runtime)
        settler = Settler(
            database,
            handlers,
            GROUP,
            TOPIC,
            GuardLimits(),
            drift,
            patience,
            lambda: Newcomers({}, runtime.token()),
            READER,
        )
        config = BackfillConfig(handler.name, hasattr(handler, "apply"), READER, TOPIC, begin, end)
        self.stop = asyncio.Event()
        self.history = ScriptedHistory(log)
        self.backfill = Backfill(self.history, database, settler, config, patience, self.stop)
        self.records = 0

    async def run(self) -> bool:
        await self.backfill.begin()
        return await self.backfill.run(self._count)

    def _count(self, stored: Stored) -> None:
        self.records += len(stored.fetched.items)


async def sell(log: ScriptedLog, count: int, first: int = 1) -> None:
    for number in range(first, first + count):
        body = a_success(f"r_{number}", total=100)
        await log.append(TOPIC, body, partition=number % 2)


@pytest.fixture
async def settled(database: Database, log: ScriptedLog) -> Bench:
    """A deployment without the shop that has read what is in the log."""
    await sell(log, 60)
    await log.append(TOPIC, b"rubbish", partition=0)
    await log.append(TOPIC, a_rollback("r_1"), partition=0)
    bench = Bench(database, log)
    bench.worker._settler._handlers = Handlers((Loyalty(),), ())
    bench.worker._settler._asking = Asking(())
    await bench.settle_all()
    return bench


async def test_a_new_handler_does_each_event_once_and_nothing_else_changes(
    database: Database, log: ScriptedLog, settled: Bench
) -> None:
    before = await settled.rows("SELECT * FROM positions ORDER BY partition")
    filling = Filling(database, log, Shop())
    assert await filling.run()
    assert (filling.records, filling.backfill.covered) == (62, Covered(62, 62))
    assert await settled.scalar("SELECT count(*) FROM sales") == 60
    again = Filling(database, log, shop := Shop())
    assert await again.run()
    assert (again.backfill.resumed, again.records, shop.batches) == (False, 62, [])
    assert await settled.rows("SELECT * FROM positions ORDER BY partition") == before
    assert await settled.scalar("SELECT count(*) FROM backfills") == 0
    assert len(await settled.letters()) == 1
    assert await settled.points() == 59


async def test_a_backfill_that_was_killed_goes_on_to_the_ends_it_began_with(
    database: Database, log: ScriptedLog, settled: Bench
) -> None:
    class Killed(BaseException):
        pass

    filling = Filling(database, log, Shop())
    reads = 0

    def kill() -> None:
        nonlocal reads
        reads += 1
        if reads == 5:
            raise Killed

    filling.history.before_read = kill
    with pytest.raises(Killed):
        await filling.run()
    done = await settled.scalar("SELECT count(*) FROM sales")
    assert 0 < done < 60
    await sell(log, 10, first=100)
    second = Filling(database, log, Shop())
    assert await second.run()
    assert second.backfill.resumed
    assert second.records == 62 - filling.records
    assert await settled.scalar("SELECT count(*) FROM sales") == 60


async def test_only_the_time_that_was_asked_for(database: Database, log: ScriptedLog) -> None:
    await sell(log, 20)
    for records in log.topics[TOPIC].values():
        records[:] = [record._replace(timestamp=1000 + record.offset) for record in records]
    assert await Filling(database, log, Shop(), begin=1002, end=1005).run()
    bench = Bench(database, log)
    assert await bench.scalar("SELECT count(*) FROM sales") == 6
    assert await Filling(database, log, Shop(), begin=5000, end=6000).run()
    assert await bench.scalar("SELECT count(*) FROM sales") == 6


async def test_what_retention_deleted_is_told(database: Database, log: ScriptedLog) -> None:
    await sell(log, 20)
    log.starts = {0: 3, 1: 0}
    filling = Filling(database, log, Shop(), begin=1_600_000_000_000)
    assert await filling.run()
    assert filling.backfill.log_begins == 1_700_000_000_000
    assert filling.records == 17
    within = Filling(database, log, Shop(), begin=1_700_000_000_000)
    await within.backfill.begin()
    assert within.backfill.log_begins is None


async def test_an_effect_handlers_work_is_left_to_whoever_delivers(
    database: Database, log: ScriptedLog, settled: Bench
) -> None:
    caller = Caller("newcomer")
    assert await Filling(database, log, caller).run()
    assert await settled.pending() == 61
    worker = Bench(database, log, effects=[caller])
    await worker.settle_all()
    assert len(caller.calls) == len({key for key, _ in caller.calls}) == 61
    assert caller.most <= caller.concurrency


async def test_a_letter_of_a_backfill_is_replayed_to_the_workers_group(
    database: Database, log: ScriptedLog, settled: Bench
) -> None:
    shop = Shop()
    shop.verdicts["r_7"] = Refused("unfit", "an unfit sale")
    assert await Filling(database, log, shop).run()
    (letter,) = [row for row in await settled.letters() if row[0] == "shop"]
    assert letter[1:3] == ("unfit", "r_7")
    _, counts = await worked_on(database, log, LetterFilter(handler="shop"))
    assert counts["replayed"] == 1
    await Bench(database, log).settle_all()
    assert await settled.scalar("SELECT count(*) FROM sales") == 60
    # Another backfill passes over the replay's record.
    idle = Shop()
    assert await Filling(database, log, idle).run()
    assert idle.batches == []


async def test_a_broken_handler_is_halted_before_its_first_and_the_mended_one_goes_on(
    database: Database, log: ScriptedLog, settled: Bench
) -> None:
    broken = Shop()
    broken.verdicts = Always(ValueError("nothing goes"))
    filling = Filling(database, log, broken)
    assert not await filling.run()
    assert filling.backfill.halted
    assert [row for row in await settled.letters() if row[0] == "shop"] == []
    assert not await Filling(database, log, Shop()).run()
    async with database.transaction() as transaction:
        await resume_handler(transaction, "shop", "ada", "")
    assert await Filling(database, log, Shop()).run()
    assert await settled.scalar("SELECT count(*) FROM sales") == 60


async def test_one_that_is_told_to_stop_stops_between_two_batches(
    database: Database, log: ScriptedLog, settled: Bench
) -> None:
    filling = Filling(database, log, Shop())
    filling.history.before_read = filling.stop.set
    assert not await filling.run()
    assert await settled.scalar("SELECT count(*) FROM backfills") == 2
    assert await Filling(database, log, Shop()).run()


async def test_a_live_worker_and_a_backfill_share_the_work_without_doubles(
    database: Database, log: ScriptedLog
) -> None:
    await sell(log, 60)
    bench = Bench(database, log, max_records=7)
    filling = Filling(database, log, Shop())
    async with bench.running():
        assert await filling.run()
        await bench.until_idle()
    assert await bench.scalar("SELECT count(*) FROM sales") == 60
    states = {row[0] for key, row in (await bench.effects()).items() if key[0] == "shop"}
    assert states == {State.DONE}
    assert await bench.letters() == []


async def test_large_bodies_are_settled_few_at_a_time(database: Database, log: ScriptedLog) -> None:
    for number in range(1, 31):
        await log.append(TOPIC, a_success(f"r_{number}", note="x" * 2**20), partition=0)
    filling = Filling(database, log, shop := Shop())
    assert await filling.run()
    sizes = [len(batch) for batch in shop.batches]
    assert sum(sizes) == 30
    assert max(sizes) <= BATCH_BYTES // 2**20 + 1
