"""A worker on a scripted log and a real database, and questions to what it left."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from prometheus_client import CollectorRegistry

from consumer.delivery import Delivery
from consumer.metrics import WorkerMetrics
from consumer.progress import Progress
from consumer.work import LetterWork, Work, works_of
from consumer.worker import Worker, WorkerConfig
from events.event import Kind, RedemptionEvent
from events.failures import Refused, Unavailable
from events.outcome import Outcome
from events.runtime import SystemRuntime
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.report import balance
from handlers.protocol import Attempt, EffectHandler, Handlers, Retry, Skipped, Verdicts
from handlers.record import Record
from storage.bundles import each_bundle
from storage.database import Database, Transaction
from tests.consumer.scripted import TOPIC, ScriptedConsumer, ScriptedLog

GROUP = "redemptions"
LETTERS = "redemptions.dead-letters"


async def until(true: Callable[[], Awaitable[bool] | bool], seconds: float = 30) -> None:
    """Look until it is so: at what nobody announces, such as rows in a database."""
    async with asyncio.timeout(seconds):
        while not (answer if isinstance(answer := true(), bool) else await answer):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def a_success(redemption: str = "r_1", customer: str = "cust_1", total: Any = 10_000, **order: Any) -> bytes:
    return json.dumps(
        {
            "customer": {"id": customer},
            "order": {"id": f"ord_{redemption}", "total_amount": total, "status": "PAID"} | order,
            "voucher": {"type": "DISCOUNT_VOUCHER"},
            "redemption": {"id": redemption, "result": "SUCCESS", "status": "SUCCEEDED"},
        }
    ).encode()


def a_rollback(redemption: str = "r_1") -> bytes:
    return json.dumps(
        {
            "redemption": {"id": redemption, "result": "SUCCESS"},
            "redemption_rollback": {"id": f"r{redemption}", "redemption": redemption, "result": "SUCCESS"},
        }
    ).encode()


class Told:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def settled(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes


class Shop:
    """A transactional handler of a user's: one row per sale, and whatever trouble the test asks for."""

    name = "shop"
    kinds = (Kind.SUCCEEDED,)
    keeps_marks = False

    def __init__(self) -> None:
        self.verdicts: dict[str, Any] = {}
        """What happens to a redemption: returned if Refused or Skipped, raised if an error, else awaited."""
        self.raised = 0
        self.batches: list[list[str]] = []

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        returned = {}
        self.batches.append([event.redemption_id for event in events])
        for index, event in enumerate(events):
            verdict = self.verdicts.get(event.redemption_id)
            if callable(verdict):
                await verdict(transaction)
            if isinstance(verdict, Skipped) or type(verdict) is Refused:
                returned[index] = verdict
                continue
            await transaction.run("INSERT INTO sales (id) VALUES (:id)", id=event.redemption_id)
            if isinstance(verdict, Exception):
                self.raised += 1
                raise verdict
        return returned


class Caller:
    """An effect handler of a user's that notes its calls."""

    kinds = (Kind.SUCCEEDED, Kind.ROLLED_BACK)
    concurrency = 10
    timeout = 5.0
    retry = Retry(attempts=3, first=0.01, longest=0.05)

    def __init__(self, name: str = "caller") -> None:
        self.name = name
        self.calls: list[tuple[str, int]] = []
        self.running: Counter[str] = Counter()
        self.overlaps: Counter[str] = Counter()
        """Tries of one effect that ran at the same time, at most."""
        self.most = 0
        """Tries that ran at the same time, at most."""
        self.answers: dict[str, list[Any]] = {}
        """What the tries for a redemption come to, one after the other; then all is fine."""
        self.gate: asyncio.Event | None = None
        self.called = asyncio.Event()

    def wants(self, event: RedemptionEvent) -> bool:
        return not event.redemption_id.startswith("r_unwanted")

    async def run(self, attempt: Attempt) -> Skipped | None:
        self.calls.append((attempt.key, attempt.number))
        self.called.set()
        self.running[attempt.key] += 1
        self.overlaps[attempt.key] = max(self.overlaps[attempt.key], self.running[attempt.key])
        self.most = max(self.most, self.running.total())
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.running[attempt.key] -= 1
        answers = self.answers.get(attempt.event.redemption_id)
        answer = answers.pop(0) if answers else None
        if isinstance(answer, BaseException):
            raise answer
        return cast(Skipped | None, answer)


class Clock(SystemRuntime):
    """The machine's clock, which a test may set ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Bench:
    """One worker as `redemptions worker` wires it, but for the log."""

    def __init__(
        self,
        database: Database,
        log: ScriptedLog,
        *,
        effects: Sequence[EffectHandler] = (),
        caller: Caller | None = None,
        drain_seconds: float = 10.0,
        max_records: int = 2000,
        group: str = GROUP,
        transactional: bool = True,
        clock: Clock | None = None,
        shop: Shop | None = None,
    ) -> None:
        self.database = database
        self.log = log
        self.consumer = self.consumer_of(log)
        self.shop, self.caller, self.told = shop or Shop(), caller or Caller(), Told()
        beside = (Loyalty(), Record(), self.shop) if transactional else ()
        self.handlers = Handlers(beside, (self.caller, *effects), (self.told,))
        self.clock = clock or Clock()
        self.progress = Progress(self.clock)
        self.registry = CollectorRegistry()
        metrics = WorkerMetrics(self.registry)
        works: list[Work] = [*works_of(self.handlers, group, GROUP)]
        works.append(LetterWork(log, LETTERS))
        self.worker = Worker(
            self.consumer,
            database,
            self.handlers,
            [Delivery(work, database, self.clock, self.progress, metrics) for work in works],
            WorkerConfig(group, TOPIC, drain_seconds, max_records),
            self.clock,
            self.progress,
            metrics,
        )
        self.stop = asyncio.Event()

    def consumer_of(self, log: ScriptedLog) -> ScriptedConsumer:
        return ScriptedConsumer(log)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Bench"]:
        """Stopped at the end as by SIGTERM."""
        await self.worker.join()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.worker.run(self.stop))
            try:
                yield self
            finally:
                self.stop.set()

    @asynccontextmanager
    async def killed_at_the_end(self) -> AsyncIterator["Bench"]:
        """Run, then end between any two steps: no drain, no commit."""
        await self.worker.join()
        task = asyncio.create_task(self.worker.run(self.stop))
        try:
            yield self
        finally:
            self.consumer.fails["commit"] = Unavailable("killed", "nobody is there to commit")
            task.cancel()
            await asyncio.wait([task])

    async def settle_all(self) -> None:
        """Run until the log is read, committed, and no effect is pending."""
        async with self.running():
            await self.until_idle()

    async def until_idle(self, seconds: float = 30) -> None:
        async def idle() -> bool:
            return not self.log.lag and not await self.pending()

        await until(idle, seconds)

    async def pending(self) -> int:
        count: int = await self.scalar("SELECT count(*) FROM effects WHERE state = 1")
        return count

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"redemptions_{name}", labels)

    async def scalar(self, sql: str, **parameters: Any) -> Any:
        async with self.database.snapshot() as snapshot:
            return (await snapshot.run(sql, **parameters))[0][0]

    async def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        async with self.database.snapshot() as snapshot:
            return [tuple(row) for row in await snapshot.run(sql, **parameters)]

    async def points(self, customer: str = "cust_1", tenant: str = "default") -> int:
        async with self.database.snapshot() as snapshot:
            return await balance(snapshot, tenant, customer)

    async def letters(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "SELECT handler, reason, redemption_id, state, replays, attempts FROM dead_letters ORDER BY id"
        )

    async def records(self) -> int:
        """How many are kept for effects that wait."""
        async with self.database.snapshot() as snapshot:
            bundled = [len(records) async for _, records in each_bundle(snapshot)]
        return sum(bundled) + int(await self.scalar("SELECT count(*) FROM payloads"))

    async def effects(self) -> dict[tuple[str, str, int], tuple[Any, ...]]:
        rows = await self.rows(
            "SELECT n.name, e.redemption_id, e.kind, e.state, e.attempts, e.last_error FROM effects e "
            "JOIN names n ON n.id = e.handler WHERE n.name <> 'dead-letter-topic'"
        )
        return {(row[0], row[1], row[2]): row[3:] for row in rows}
