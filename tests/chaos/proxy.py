"""A wire between the product and Kafka that a test can cut, hold, slow down and close by half."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from enum import Enum


class Weather(Enum):
    """What happens to bytes on their way."""

    FAIR = "passes"
    SILENT = "drops"
    """Connections stay open, nothing arrives."""
    SLOW = "delays"
    AWAY = "refuses"
    """No connection, and those there were are reset."""


SLOW_SECONDS = 0.3
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Listens on a port of its own from its making to `close`, in a thread of its own."""

    def __init__(self, target_port: int, port: int) -> None:
        self._target_port, self.port = target_port, port
        self._weather = Weather.FAIR
        self._open: set[asyncio.StreamWriter] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._run()], name="proxy", daemon=True)
        self._thread.start()
        assert self._listening.wait(10), f"nothing listens on port {port}"

    def set(self, weather: Weather) -> None:
        """Connections from before a storm do not outlive it: what they lost would garble the rest."""
        self._call(lambda: self._set(weather))

    def reset(self) -> None:
        """Break every connection; new ones are welcome."""
        self._call(self._reset)

    def half_close(self) -> None:
        """Tell the clients that no more answers will come, and go on taking what they send."""
        self._call(self._half_close)

    def close(self) -> None:
        self._call(self._reset)
        self._call(self._closed.set)
        self._thread.join()

    def _call(self, what: Callable[[], object]) -> None:
        async def run() -> None:
            what()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _run(self) -> None:
        self._loop, self._closed = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._listening.set()
        await self._closed.wait()
        server.close()

    def _set(self, weather: Weather) -> None:
        before, self._weather = self._weather, weather
        if weather is Weather.AWAY or before is Weather.SILENT:
            self._reset()

    def _reset(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def _half_close(self) -> None:
        for writer in list(self._open):
            with contextlib.suppress(OSError):
                writer.write_eof()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._weather is not Weather.AWAY:
                there = await asyncio.open_connection("127.0.0.1", self._target_port)
                await self._join((reader, writer), there)
        except OSError:
            pass  # the broker is down
        finally:
            writer.transport.abort()

    async def _join(self, here: Stream, there: Stream) -> None:
        self._open.add(here[1])
        answers = asyncio.create_task(self._pass_on(there[0], here[1]))
        await self._pass_on(here[0], there[1])
        answers.cancel()
        self._open.discard(here[1])

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if self._weather is Weather.SLOW:
                    await asyncio.sleep(SLOW_SECONDS)
                if self._weather is Weather.SILENT:
                    continue
                target.write(data)
                await target.drain()
        target.transport.abort()
