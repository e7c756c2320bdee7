"""Owns what operators ask of the embedded log."""

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from broker import embedded_records as records
from broker.embedded_log import EmbeddedLog


class EmbeddedAdmin:
    """A `LogAdmin` on the embedded log. Limits are each process's own settings, so none can be wrong."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log

    async def ping(self) -> None:
        async with self._opened():
            await self._log.read(lambda connection: records.slots(connection, self._log.topics.events))

    async def ensure_topics(self) -> list[str]:
        fresh = not self._log.path.exists()
        async with self._opened():
            partitions = await self._log.create_topics()
        if fresh:
            return [f"created {topic} with {count} partitions" for topic, count in partitions.items()]
        wanted = self._log.topics.partitions
        return [
            f"left {topic} at {count} partitions, not {wanted}: keys would move to other partitions"
            for topic, count in partitions.items()
            if count != wanted
        ]

    async def check_topics(self) -> list[str]:
        if self._log.path.exists():
            return []
        return [f"the log {self._log.path} does not exist: run `redemptions topics ensure`"]

    async def lag(self, groups: Iterable[str] | None = None) -> dict[str, int]:
        """None: the groups that ever joined."""
        wanted = None if groups is None else list(groups)
        if not self._log.path.exists():
            return dict.fromkeys(wanted or [], 0)
        topic = self._log.topics.events

        def lags(connection: sqlite3.Connection) -> dict[str, int]:
            bounds = records.bounds(connection, topic)
            found = {}
            for group in records.groups(connection, topic) if wanted is None else wanted:
                committed = records.committed(connection, group, topic)
                found[group] = sum(
                    max(0, end - max(committed.get(partition, start), start))
                    for partition, (start, end) in bounds.items()
                )
            return found

        async with self._opened():
            return await self._log.read(lags)

    async def close(self) -> None:
        """Nothing is held between two questions."""

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        await self._log.open()
        try:
            yield
        finally:
            await self._log.close()
