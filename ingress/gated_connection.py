"""A connection whose requests are turned away before anything is done for them when the gate is shut."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from ingress.answers import AT_ONCE, RETRY_AFTER
from ingress.connection import BoundedConnection
from ingress.gate import Gate

_STATUS = HTTPStatus.SERVICE_UNAVAILABLE
_BODY = json.dumps({"error": AT_ONCE}).encode()
_REFUSAL = b"".join(
    (
        b"content-type: application/json\r\n",
        b"content-length: %d\r\n" % len(_BODY),
        b"retry-after: %d\r\n" % RETRY_AFTER,
    )
)
_AT_THE_END = 0.1
_EAGER = 0.1
"""Seconds: who sends the next request so soon after an answer, or after a rest, never pauses."""


class GatedConnection(BoundedConnection):
    """Only what arrives whole in one piece, as deliveries do, is turned away here. What does not, comes in
    a pipeline or waits for our word, is the app's to refuse."""

    def __init__(self, *args: Any, gate: Gate, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._reads = False
        self._at_door: tuple[RequestResponseCycle, ASGI3Application] | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._rested = 0.0  # when its last rest was over
        self._answered = 0.0  # when it last got an answer

    def data_received(self, data: bytes) -> None:
        self._reads = True
        try:
            super().data_received(data)
        finally:
            self._reads = False
        if self._at_door is not None:
            cycle, app = self._at_door
            self._at_door = None
            self._decide(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest is not None:
            self._rest.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._answered = self.loop.time()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self._reads:  # Its body may be in the same piece as its head.
            self._answering = cycle
            self._at_door = (cycle, app)
        else:
            super()._start_asgi_task(cycle, app)

    def _decide(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if not cycle.more_body and cycle.scope["method"] == "POST":
            alone = not self.pipeline and not cycle.disconnected and not cycle.waiting_for_100_continue
            if alone and self._gate.is_shut(eager=self._is_eager()):
                self._turn_away(cycle)
                return
            self._gate.announce(cycle.scope["state"], self._kept_waiting())
        super()._start_asgi_task(cycle, app)

    def _turn_away(self, cycle: RequestResponseCycle) -> None:
        cycle.response_started = cycle.response_complete = True
        headers = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        if not cycle.keep_alive:
            headers.append(b"connection: close\r\n")
        self.transport.write(b"".join([STATUS_LINE[_STATUS], *headers, _REFUSAL, b"\r\n", _BODY]))
        self._on_fault(_STATUS)
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
        if cycle.keep_alive:
            self._rest_a_while()

    def _rest_a_while(self) -> None:
        # It was told when to come again. If it does so at once, and many do, reading what they send and
        # refusing it would be all that the door has time for.
        self.flow.pause_reading()
        self._rest = self.loop.call_later(self._limits.rest, self._listen_again)

    def _listen_again(self) -> None:
        self._rest = None
        self._rested = self.loop.time()
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def _is_eager(self) -> bool:
        return self.loop.time() - max(self._answered, self._rested) < _EAGER

    def _kept_waiting(self) -> float:
        """Seconds, at most: what is read at the end of a rest may have come at its beginning."""
        return self._limits.rest if self.loop.time() - self._rested < _AT_THE_END else 0.0
