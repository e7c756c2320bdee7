"""The bodies held in memory: each one bounded, and all of them together."""

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

    async def read(self, request: Request) -> bytes:
        """The whole body, until `let_go`. Bytes are counted as they come: chunks declare no length."""
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
        except BaseException:
            self._room += size
            raise
        return b"".join(chunks)

    def let_go(self, body: bytes) -> None:
        self._room += len(body)
