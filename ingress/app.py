"""The webhook's door: an ASGI app that verifies a delivery, appends it to the log, and only then says yes."""

import re
from collections.abc import Callable, Mapping

import structlog
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from broker.protocols import Producer
from events.runtime import Runtime
from events.signature import matching_secret
from ingress.admission import Admission, Network
from ingress.answers import ACCEPTED, encoded, later, not_authentic, not_found, post_only, refusal
from ingress.appending import Appending
from ingress.bodies import Bodies
from ingress.gate import Gate
from ingress.metrics import IngressMetrics
from ingress.record import content_of, record_headers

log = structlog.get_logger(__name__)

# Matched against the path as it was sent: %2F, `..`, doubled and trailing slashes make other paths.
_PATH = re.compile(rb"/webhooks/voucherify(?:/([a-z0-9-]{1,63}))?")
DEFAULT_TENANT = b"default"
SENDER_LEFT = 499


class IngressSettings(Struct, frozen=True, kw_only=True):
    topic: str
    secrets: Callable[[], Mapping[str, tuple[str, ...]]]
    """The live secrets by tenant; asked for each request, so that rotation needs no restart."""
    max_body_bytes: int = 2 * 1024 * 1024
    append_deadline: float = 4.0
    """Seconds the log has to confirm what has come. The sender itself waits for 10."""
    max_waiting: int = 512
    """Requests that may wait for a log that keeps up; more are sent away at once."""
    max_held_bytes: int = 256 * 1024 * 1024
    """All bodies in memory together, those still arriving included."""
    allowed_networks: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    rate_limit: float | None = None
    """Requests a second."""


class Ingress:
    """Answers 202 only when the log has the bytes. Never answers 500."""

    def __init__(
        self, settings: IngressSettings, producer: Producer, metrics: IngressMetrics, runtime: Runtime
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._runtime = runtime
        self._admission = Admission(
            settings.allowed_networks, settings.trusted_proxies, settings.rate_limit, runtime
        )
        self._bodies = Bodies(each=settings.max_body_bytes, together=settings.max_held_bytes)
        self.gate = Gate(runtime, settings.max_waiting)
        metrics.room.set_function(lambda: self.gate.room)
        metrics.waiting.set_function(lambda: self.gate.waiting)
        self._log = Appending(producer, metrics, runtime, self.gate, deadline=settings.append_deadline)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, since = Request(scope, receive), self.gate.look_at(scope.get("state", {}))
        answer = ACCEPTED
        try:
            await self._take(request, since)
        except ClientDisconnect:
            self._metrics.count_answer(SENDER_LEFT)
            return
        except HTTPException as why:
            answer = refusal(request, why)
        except Exception:
            log.exception("request_failed")
            answer = refusal(request, later("internal error"))
        self._metrics.count_answer(answer.status_code)
        await answer(scope, receive, send)

    async def _take(self, request: Request, since: float) -> None:
        """The order of these checks is part of what users rely on."""
        self._admission.check(request)
        tenant = _tenant_of(request)
        if request.method != "POST":
            raise post_only()
        if _is_encoded(request):
            raise encoded()
        self._bodies.check_declared(request)
        body = await self._bodies.read(request)
        try:
            self._verify(request, tenant, body)
            await self._append(request, tenant, body, since)
        finally:
            self._bodies.let_go(body)

    def _verify(self, request: Request, tenant: str, body: bytes) -> None:
        # Blanks around a header's value are no part of it, but the parser leaves those behind it.
        given = [
            value.strip(b" \t") for name, value in request.headers.raw if name == b"x-voucherify-signature"
        ]
        slot = matching_secret(body, given, self._settings.secrets().get(tenant, ()))
        if slot is None:
            raise not_authentic()
        self._metrics.count_match(tenant, slot, self._runtime.now())
        self._metrics.body_bytes.observe(len(body))

    async def _append(self, request: Request, tenant: str, body: bytes, since: float) -> None:
        content = content_of(body, tenant)
        headers = record_headers(tenant, request.headers.raw, self._runtime)
        await self._log.append(self._settings.topic, body, content.key, headers, since)
        self._metrics.count_accepted(content.type, self._runtime.now())


def _tenant_of(request: Request) -> str:
    path = _PATH.fullmatch(request.scope["raw_path"])
    if path is None:
        raise not_found()
    return (path[1] or DEFAULT_TENANT).decode()


def _is_encoded(request: Request) -> bool:
    codings = request.headers.getlist("content-encoding")
    return any(
        each.strip().lower() not in ("", "identity") for coding in codings for each in coding.split(",")
    )
