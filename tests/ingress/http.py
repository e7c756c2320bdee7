"""A peer that speaks HTTP byte by byte, so that it can do what no client library would."""

import asyncio
import json
from contextlib import suppress
from typing import Any, NamedTuple

from events.signature import sign

SECRET = "a test secret"
OTHER_SECRET = "another test secret"
PATH = "/webhooks/voucherify"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Peer":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, *, to_head: bool = False) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if to_head else int(headers.get("content-length", 0))
        return Answer(int(status_line.split()[1]), headers, await self._reader.readexactly(length))

    async def first_byte(self) -> bytes:
        return await self._reader.readexactly(1)

    async def until_closed(self) -> bytes:
        """What else comes before the server closes the connection."""
        return await self._reader.read()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):  # The server may have been first.
            await self._writer.wait_closed()


def post(
    body: bytes, *headers: str, path: str = PATH, secret: str | None = SECRET, length: int | None = None
) -> bytes:
    """A whole request. `secret` None: no signature header."""
    signature = [] if secret is None else [f"x-voucherify-signature: {sign(body, secret)}"]
    length_line = f"content-length: {len(body) if length is None else length}"
    lines = [f"POST {path} HTTP/1.1", "host: test", length_line, *signature, *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def post_chunked(body: bytes, *headers: str, secret: str = SECRET, size: int = 1000) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        "host: test",
        "transfer-encoding: chunked",
        f"x-voucherify-signature: {sign(body, secret)}",
        *headers,
        "",
        "",
    ]
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "\r\n".join(lines).encode() + chunks + b"0\r\n\r\n"
