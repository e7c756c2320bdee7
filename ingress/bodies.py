"""The bodies held in memory: each one bounded, and all of them together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from ingress.answers import AT_ONCE, later, too_large


class Bodies:
    def __init__(self, each: int, together: int) -> None:
        """`each`, `together`: bytes."""
        self._each = each
        self._room = together

    def check_declared(self, request: Request) -> None:
        """Refuse by content-length, which the server has checked against how the body is framed."""
        if int(request.headers.get("content-length", 0)) > self._each:
            raise too_large()

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body. Bytes are counted as they arrive: a chunked body declares no length."""
        chunks, size = [], 0
        try:
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                self._room -= len(chunk)
                if size > self._each:
                    raise too_large()
                if self._room < 0:
                    raise later(AT_ONCE)
            yield b"".join(chunks)
        finally:
            self._room += size
