"""Puts what is missing on the events topic, as the ingress would have."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from broker.protocols import Headers, Producer, TooLarge
from events.runtime import Runtime
from reconcile.events import Told

log = structlog.get_logger(__name__)

SOURCE = ("redemptions-source", b"reconcile")


class Enqueueing(NamedTuple):
    producer: Producer
    topic: str
    tenant: str
    runtime: Runtime

    async def append(self, told: Sequence[Told]) -> int:
        """Returns how many are in the log; one that the log finds too large is not. Raises Unavailable."""
        return sum(await asyncio.gather(*map(self._append, told)))

    async def _append(self, told: Told) -> bool:
        try:
            await self.producer.append(self.topic, told.body, key=told.key, headers=self._headers())
        except TooLarge:
            log.warning("too_large_for_the_log", row=told.row_id, bytes=len(told.body))
            return False
        return True

    def _headers(self) -> Headers:
        received = datetime.fromtimestamp(self.runtime.now(), UTC).isoformat(timespec="milliseconds")
        return (
            ("tenant", self.tenant.encode()),
            ("received-at", received.replace("+00:00", "Z").encode()),
            ("request-id", self.runtime.token().encode()),
            SOURCE,
        )
