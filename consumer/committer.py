"""Commits offsets to the log after the database has the outcomes, beside the work on the next batch."""

import asyncio
from collections.abc import Mapping

import structlog

from broker.protocols import Consumer, Fenced
from consumer.waiting import Patience

log = structlog.get_logger(__name__)

BETWEEN_SECONDS = 0.1
"""From one commit to the next: of hundreds of small batches a second each would pay for one, here and in the
broker."""


class OffsetCommitter:
    """Owns the offsets that are settled but not yet committed.

    A commit that fails harms nothing: the next one covers it, and the database's positions are ahead of it.
    """

    def __init__(self, consumer: Consumer, patience: Patience) -> None:
        self._consumer = consumer
        self._patience = patience
        self._epoch = 0
        self._offsets: dict[int, int] = {}
        self._noted = asyncio.Event()
        self._committing = asyncio.Lock()

    def note(self, epoch: int, next_offsets: Mapping[int, int]) -> None:
        """All before these offsets is settled, as seen under this assignment."""
        if epoch != self._epoch:
            self._epoch, self._offsets = epoch, {}
        self._offsets.update(next_offsets)
        self._noted.set()

    async def run(self) -> None:
        """Commit whatever is noted, until cancelled."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            await self._patience.outlast("offset commit", self.flush)
            await asyncio.sleep(BETWEEN_SECONDS)

    async def flush(self) -> None:
        """Commit now what is noted. Raises what the commit raises, keeping it noted, unless fenced."""
        async with self._committing:
            epoch, offsets = self._epoch, dict(self._offsets)
            if not offsets:
                return
            try:
                await self._consumer.commit(epoch, offsets)
            except Fenced:
                log.info("commit_fenced", partitions=sorted(offsets))
            if epoch == self._epoch:
                # Newer offsets may have been noted while the commit was under way: those stay.
                self._offsets = {p: offset for p, offset in self._offsets.items() if offsets.get(p) != offset}
