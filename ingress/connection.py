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
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    request_deadline: float = 30.0
    """Seconds from a request's first byte to its last. A new connection may be silent for as long."""
    drain: float = 5.0
    """Seconds left to requests that are still arriving when the server stops."""
    head_bytes: int = 32 * 1024
    """Request line and headers; also what may come without any byte of body, such as trailers."""
    header_count: int = 100
    linger: float = 2.0
    """Seconds a refused peer may go on sending before it is cut off: it should read our answer first."""
    rest: float = 0.25
    """Seconds that a sender who was turned away is not listened to."""
    keep_alive: int = 75
    """Seconds between requests: more than load balancers wait, so that they close first."""


_OF_UPGRADES = (b"connection", b"upgrade", b"http2-settings")


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
        self._close_after = False
        self._refused = False
        self._answering: RequestResponseCycle | None = None  # the first of a pipeline; `cycle` is the last
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # What the transport tells us

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_deadline(self._limits.request_deadline)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._stop_unread()
        self._leave_to_itself(self._answering)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._start_deadline(self._limits.request_deadline)
        self._progressed = False
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._fault)
            return
        self._idle_bytes = 0 if self._progressed else self._idle_bytes + len(data)
        if self._idle_bytes > self._limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            # The parser leaves out the body of a request that offers another protocol, as Java's client does
            # on each first one. Read it again without the offer.
            lines = [b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url), b"connection: close"]
            lines += [b"%b: %b" % header for header in self.headers if header[0] not in _OF_UPGRADES]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(b"\r\n".join([*lines, b"", data[offer.args[0] :]]))

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
        if self._codings() not in ([], [b"chunked"]):
            raise ValueError("a proxy before us may see another end of this request than we do")
        if self._offers_upgrade():
            return
        super().on_headers_complete()
        self._phase = Phase.BODY
        # Closing while the body still comes would cut off a peer that has not read its answer yet.
        self._close_after = not self.cycle.keep_alive
        self.cycle.keep_alive = True

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._offers_upgrade():
            return
        self._phase = Phase.NOTHING
        self._progressed = True
        self._stop_deadline()
        super().on_message_complete()
        if self._close_after:
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.transport.close()

    def _codings(self) -> list[bytes]:
        return [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]

    def _offers_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    # What we do about it

    def _expire(self) -> None:
        self._deadline = None
        if self._phase is Phase.NOTHING:
            self.transport.close()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in the app's place if it is this request's turn, and end the connection."""
        self._refused = True
        if self.pipeline:
            # Several answers are still to come, and this would be read as the first of them.
            self._leave_to_itself(self._answering)
            self.transport.close()
            return
        answered = self.cycle is None or self.cycle.response_complete
        if self._phase is Phase.BODY:
            if not answered and not self.cycle.response_started:
                self._write_fault(status)
            self._leave_to_itself(self.cycle)
        elif answered:
            self._write_fault(status)
        else:
            self.cycle.keep_alive = False  # The request before this one still gets its answer, then we close.
            return
        self._linger()

    def _leave_to_itself(self, cycle: RequestResponseCycle | None) -> None:
        """What the app does from now on reaches nobody: in uvloop, writing to a closed connection raises."""
        if cycle is None:
            return
        cycle.waiting_for_100_continue = False
        cycle.disconnected = True
        cycle.message_event.set()

    def _linger(self) -> None:
        # Closed at once, unread bytes would make the kernel reset the connection, and our answer be lost.
        self.flow.resume_reading()
        self.transport.write_eof()
        self._stop_deadline()
        self._deadline = self.loop.call_later(self._limits.linger, self.transport.close)

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
