"""An ingress before a log that tests control."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from broker.protocols import Headers, Record
from events.runtime import SystemRuntime
from ingress.app import Ingress, IngressSettings
from ingress.metrics import IngressMetrics
from tests.ingress.http import OTHER_SECRET, SECRET

TOPIC = "redemptions.events"
SECRETS = {"default": (SECRET,), "shop-2": (OTHER_SECRET, SECRET), "empty": ()}


class FakeLog:
    """A Producer. `failure` is raised by every append; until `open`, appends wait."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failure: BaseException | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = asyncio.Semaphore(0)
        """Released once for every append that began."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def append(
        self, topic: str, value: bytes, *, key: bytes | None, headers: Headers
    ) -> tuple[int, int]:
        self.waiting.release()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.records.append(Record(topic, 0, len(self.records), 0, key, value, headers))
        return 0, len(self.records) - 1


def an_ingress(log: FakeLog, metrics: IngressMetrics | None = None, **settings: Any) -> Ingress:
    """`settings`: those of IngressSettings that matter to the test."""
    metrics = metrics or IngressMetrics(CollectorRegistry())
    given = IngressSettings(topic=TOPIC, secrets=lambda: SECRETS, **settings)
    return Ingress(given, log, metrics, SystemRuntime())
