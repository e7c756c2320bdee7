"""One HTTP connection: uvicorn's, with an end to requests that come too slowly or bring headers without end.

uvicorn bounds neither the time a request takes to arrive nor the size of its headers.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    request_deadline: float = 30.0
    """Seconds from a request's first byte to its last. A new connection may be silent for as long."""
    drain: float = 5.0
    """Seconds left to requests that are still arriving when the server stops."""
    head_bytes: int = 32 * 1024
    """Request line and headers; also what may come without any byte of body, such as trailers."""
    header_count: int = 100
    keep_alive: int = 75
    """Seconds between requests: more than load balancers wait, so that they close first."""


class Phase(Enum):
    """What is arriving."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class BoundedConnection(HttpToolsProtocol):
    """A request that is not whole in time is answered 408, and its connection closed."""

    def __init__(
        self, *args: Any, limits: ConnectionLimits, on_fault: Callable[[int], None], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._on_fault = on_fault
        self._phase = Phase.NOTHING
        self._progressed = False
        self._idle_bytes = 0  # since the last progress: held by the parser, or thrown away by it
        self._fault = HTTPStatus.BAD_REQUEST
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # What the transport tells us

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_deadline(self._limits.request_deadline)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._stop_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._start_deadline(self._limits.request_deadline)
        self._progressed = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # No other protocol is spoken here: answer in this one, then close.
        except httptools.HttpParserError:
            self._refuse(self._fault)
            return
        self._idle_bytes = 0 if self._progressed else self._idle_bytes + len(data)
        if self._idle_bytes > self._limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def pause_writing(self) -> None:
        # A peer that reads no answers would hold its connection, and a stopping server, for ever.
        self._unread = self.loop.call_later(self._limits.request_deadline, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stop_unread()
        super().resume_writing()

    def shutdown(self) -> None:
        if self._phase is not Phase.NOTHING:
            self._start_deadline(self._limits.drain)
        super().shutdown()

    # What the parser tells us; whatever is raised in here comes out of feed_data as an HttpParserError

    def on_message_begin(self) -> None:
        self._phase = Phase.HEAD
        self._progressed = True
        if self._deadline is None:
            self._start_deadline(self._limits.request_deadline)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._limits.head_bytes or len(self.headers) > self._limits.header_count:
            self._fault = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise ValueError("too many headers")
        super().on_headers_complete()
        self._phase = Phase.BODY

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = Phase.NOTHING
        self._progressed = True
        self._stop_deadline()
        super().on_message_complete()

    # What we do about it

    def _expire(self) -> None:
        self._deadline = None
        if self._phase is Phase.NOTHING:
            self.transport.close()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in the app's place if it is this request's turn, and close the connection."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._phase is Phase.BODY:
            if answering and not self.cycle.response_started and not self.pipeline:
                self._write_fault(status)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        elif answering and not self.pipeline:
            self.cycle.keep_alive = False  # The request before this one still gets its answer, then we close.
            return
        elif not answering:
            self._write_fault(status)
        self.transport.close()

    def _write_fault(self, status: HTTPStatus) -> None:
        self._on_fault(status.value)
        body = b'{"error":"%b"}' % status.phrase.lower().encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers), b"\r\n", body]
        self.transport.write(b"".join(lines))

    def _start_deadline(self, seconds: float) -> None:
        self._stop_deadline()
        self._deadline = self.loop.call_later(seconds, self._expire)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
