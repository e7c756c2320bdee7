"""A wire to PostgreSQL that a test can cut, as a server that stops or a network that breaks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit


class Proxy:
    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self.silent = False
        """Nothing passes, and nobody is told."""

    @property
    def url(self) -> str:
        user = self._parts.username or "postgres"
        secret = f":{self._parts.password}" if self._parts.password else ""
        place = f"{user}{secret}@127.0.0.1:{self._port}"
        return urlunsplit(self._parts._replace(netloc=place, query="sslmode=disable"))

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections, break the others."""
        if self._server:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sockets = parse_qs(self._parts.query).get("host")
        port = self._parts.port or 5432
        if sockets:
            there = await asyncio.open_unix_connection(f"{sockets[0]}/.s.PGSQL.{port}")
        else:
            there = await asyncio.open_connection(self._parts.hostname, port)
        self._open |= {writer, there[1]}
        await asyncio.gather(self._pass_on(reader, there[1]), self._pass_on(there[0], writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while (data := await reader.read(65536)) or not reader.at_eof():
                if not self.silent:
                    writer.write(data)
        writer.transport.abort()
        self._open.discard(writer)


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    await proxy.mend()
    yield proxy
    await proxy.cut()
