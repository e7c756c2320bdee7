"""What an HTTP call came to, in the words of failures: handlers that call over HTTP share it."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from events.failures import Failure, Refused, Unavailable

AGAIN = frozenset({408, 425, 429})
"""With all of 5xx: statuses that waiting can cure."""
NOT_DONE = frozenset({408, 425, 429, 503})
"""Statuses that say that nothing was done. After any other 5xx something may have been."""
SECONDS = re.compile(r"[0-9]{1,10}")
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def failure_of_answer(status: int, headers: Mapping[str, str], now: float) -> Failure | None:
    """None: accepted. `headers` by lower-case name or in any case if the mapping does not mind; `now`:
    seconds since 1970, for a Retry-After that is a date.

    Redirects are not followed, and so are refusals: the target is the configured one or none.
    """
    if 200 <= status < 300:
        return None
    if status in AGAIN or status >= 500:
        return Unavailable(
            f"http_{status}",
            f"answered HTTP {status}",
            retry_after(headers.get("retry-after"), now),
            sent=status not in NOT_DONE,
        )
    if 300 <= status < 400:
        told = f"answered HTTP {status}: redirects are not followed"
        return Refused(f"http_{status}", told, answered=True)
    return Refused(f"http_{status}", f"answered HTTP {status}", answered=True)


def failure_of_error(error: httpx.HTTPError | httpx.InvalidURL | OSError) -> Failure:
    """What the call ended in instead of an answer: no connection, a time-out, a reset."""
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects)):
        return Refused("unfit_url", type(error).__name__)
    # Only the class is told: the text of an error may quote the URL, and the URL a secret.
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return Unavailable(
            "timed_out",
            f"no answer in time ({type(error).__name__})",
            sent=not isinstance(error, NOTHING_SENT),
        )
    sent = not isinstance(error, (*NOTHING_SENT, ConnectionRefusedError))
    return Unavailable("no_answer", f"no answer ({type(error).__name__})", sent=sent)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, from a Retry-After header in seconds or as a date; None when it says nothing fit."""
    if value is None:
        return None
    if SECONDS.fullmatch(value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now)
    except (ValueError, OverflowError):
        return None
