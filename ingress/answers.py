"""Every answer the door gives."""

import math

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

ACCEPTED = JSONResponse({"status": "accepted"}, 202)

AT_ONCE = "too many requests at once"
RETRY_AFTER = 5.0
"""Seconds, when the log does not say how long it will be away. The sender has a ladder of its own."""


def not_found() -> HTTPException:
    return HTTPException(404, "no such path")


def post_only() -> HTTPException:
    return HTTPException(405, "POST only", {"allow": "POST"})


def encoded() -> HTTPException:
    return HTTPException(415, "send the body without content-encoding")


def too_large() -> HTTPException:
    return HTTPException(413, "the body is too large")


def not_authentic() -> HTTPException:
    """One answer for all that may be wrong: no hint at which tenants there are, or what came close."""
    return HTTPException(401, "no valid signature")


def later(why: str, seconds: float | None = None) -> HTTPException:
    wait = RETRY_AFTER if seconds is None else max(1.0, seconds)
    return HTTPException(503, why, {"retry-after": str(math.ceil(wait))})


def refusal(request: Request, why: HTTPException) -> JSONResponse:
    headers = dict(why.headers or {})
    if "expect" in request.headers:
        # The sender may wait for our word before its body, and then never send it: whatever comes next on
        # this connection could be taken for that body.
        headers["connection"] = "close"
    return JSONResponse({"error": why.detail}, why.status_code, headers)
