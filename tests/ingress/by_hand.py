"""Connections whose deadlines pass when the test says so: on a busy machine a short one passes too soon."""

import asyncio
from typing import Any

from ingress.gated_connection import GatedConnection

NEVER = 3600.0


class Connections:
    """Those that a server has taken, in their order; made in the place of GatedConnection."""

    def __init__(self) -> None:
        self._all: list[_ByHand] = []
        self._taken = asyncio.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> GatedConnection:
        self._all.append(_ByHand(*args, **kwargs))
        self._taken.set()
        return self._all[-1]

    async def pass_deadline(self, after: int) -> bool:
        """Of the only connection, once it has received `after` bytes. Returns whether one was running."""
        await self._arrived(after)
        [connection] = self._all
        return connection.pass_deadline()

    async def deadlines_begun(self, after: int) -> int:
        await self._arrived(after)
        return self._all[0].begun

    def listen_again(self) -> None:
        """To all that were turned away."""
        for connection in self._all:
            connection.end_rest()

    async def _arrived(self, count: int) -> None:
        await self._taken.wait()
        await self._all[0].arrived(count)


class _ByHand(GatedConnection):
    begun = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received = 0
        self._news = asyncio.Event()

    async def arrived(self, count: int) -> None:
        """Wait for so many bytes."""
        while self._received < count:
            self._news.clear()
            await self._news.wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._received += len(data)
        self._news.set()

    def pass_deadline(self) -> bool:
        if self._deadline is None:
            return False
        self._deadline.cancel()
        self._expire()
        return True

    def end_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._listen_again()

    def _start_deadline(self, seconds: float) -> None:
        self.begun += 1
        super()._start_deadline(NEVER)
