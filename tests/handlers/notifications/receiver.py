"""A flaky HTTP server on this machine: it does to each request what a test asks for."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any, NamedTuple

OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """`answers`: a status, a whole answer as text, or one of these words, for the next requests in turn.

    `reset`: nothing is taken, the connection breaks; `lost`: taken, but the answer never comes and the
    connection breaks; `hang`: nothing is taken and nothing comes; `hang_taken`: taken, and nothing comes.
    """

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        self.requests: list[Request] = []
        self.taken: list[str] = []
        """Keys, once for each request that was carried out."""
        self.lost = 0
        self.away = False
        """Answers 503 to everybody."""
        self._arrived = asyncio.Event()
        self.url = ""
        self.port = 0

    @property
    def keys(self) -> Counter[str]:
        return Counter(request.key for request in self.requests)

    @property
    def bodies(self) -> list[Any]:
        return [request.json for request in self.requests]

    async def until(self, count: int) -> None:
        """Wait for so many requests in all."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(_pair(line) for line in lines if line)
        body = await reader.readexactly(int(headers["content-length"]))
        request = Request(first.split()[1], headers, body)
        self.requests.append(request)
        self._arrived.set()
        answer = 503 if self.away else self.answers.pop(0) if self.answers else OK
        if answer in ("lost", "hang_taken"):
            self.lost += 1
        if answer in (OK, "lost", "hang_taken") or str(answer).startswith(("HTTP/1.1 2", "2")):
            self.taken.append(request.key)
        match answer:
            case "reset" | "lost":
                writer.transport.abort()
                return False
            case "hang" | "hang_taken":
                await reader.read()  # until the other side gives up
                return False
            case int():
                answer = f"HTTP/1.1 {answer} Told\r\ncontent-length: 0\r\n\r\n"
        writer.write(str(answer).encode())
        await writer.drain()
        return "connection: close" not in str(answer)


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value


@asynccontextmanager
async def receiving(tls: SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.url = f"http{'s' if tls else ''}://localhost:{receiver.port}/hooks"
    async with server:
        yield receiver
        server.close()
