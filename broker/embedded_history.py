"""Reads the embedded log from any place, outside any group."""

from functools import partial

from broker import embedded_records as records
from broker.embedded_log import EmbeddedLog
from broker.protocols import Bounds, Record


class EmbeddedHistory:
    """A `History` on the embedded log. Retention does not wait for it, as it does for groups."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._topic = log.topics.events

    async def start(self) -> None:
        await self._log.open()

    async def bounds(self) -> dict[int, Bounds]:
        return await self._log.read(partial(records.bounds, topic=self._topic))

    async def offsets_at(self, ms: int) -> dict[int, int]:
        return await self._log.read(partial(records.offsets_at, topic=self._topic, ms=ms))

    async def read(self, partition: int, offset: int, max_records: int) -> list[Record]:
        return await self._log.read(
            partial(
                records.read_on,
                topic=self._topic,
                partition=partition,
                offset=offset,
                max_records=max_records,
            )
        )

    async def stop(self) -> None:
        await self._log.close()
