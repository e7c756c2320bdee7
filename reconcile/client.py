"""Voucherify's list of redemptions, one page at a time: paced, bounded, and tried again when it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx
import structlog
from msgspec import Raw
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from events.failures import Failure, Misconfigured, Unavailable
from reconcile.moments import Window, iso
from reconcile.pace import Pace
from reconcile.parsing import rows_of

log = structlog.get_logger(__name__)

PAGE_ROWS = 100
"""The most that Voucherify puts on a page."""
TRIES = 6
ANSWER_SECONDS = 90.0
"""For a whole answer: one that drips for ever never runs into a time-out between two reads."""
SILENCE_SECONDS = 30.0
LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes. A hundred orders of 500 items come to some 20 MB."""
BACKOFF = wait_exponential_jitter(multiplier=1.0, max=30.0)


class Account(NamedTuple):
    base_url: str
    app_id: str
    app_token: str

    def __repr__(self) -> str:
        return f"Account({self.base_url!r})"  # A traceback must not show the token.


class Voucherify:
    """Use it as a context. All that it raises is a Failure; after an Unavailable, everything was tried."""

    def __init__(
        self, account: Account, pace: Pace, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._account = account
        self._pace = pace
        self._pause = pause

    async def __aenter__(self) -> "Voucherify":
        self._http = httpx.AsyncClient(
            headers={
                b"X-App-Id": self._account.app_id.encode(),
                b"X-App-Token": self._account.app_token.encode(),
            },
            timeout=SILENCE_SECONDS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def page(self, window: Window, number: int, customer: str | None = None) -> list[Raw]:
        """Page `number` (from 1) of the rows created in `window`, oldest first; of one customer, or all."""
        query = {
            "limit": str(PAGE_ROWS),
            "page": str(number),
            "order": "created_at",
            "created_at[after]": iso(window.start),
            "created_at[before]": iso(window.end),
        }
        if customer is not None:
            query["customer"] = customer
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_attempt(TRIES),
            wait=_wait,
            sleep=self._pause,
            before_sleep=_tell,
            reraise=True,
        )
        rows: list[Raw] = await retrying(self._ask, query)
        return rows

    async def _ask(self, query: dict[str, str]) -> list[Raw]:
        if self._pace.seconds:
            log.info("waiting_for_the_rate_limit", seconds=round(self._pace.seconds))
            await self._pause(self._pace.seconds)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answer(query)
        except (httpx.HTTPError, TimeoutError) as failure:
            raise Unavailable(
                "voucherify_unavailable",
                f"Voucherify does not answer: {str(failure) or type(failure).__name__}",
            ) from failure
        except httpx.InvalidURL as wrong:
            raise Misconfigured("voucherify_base_url", f"REDEMPTIONS_VOUCHERIFY_BASE_URL: {wrong}") from wrong

    async def _answer(self, query: dict[str, str]) -> list[Raw]:
        url = f"{self._account.base_url}/v1/redemptions"
        async with self._http.stream("GET", url, params=query) as response:
            self._pace.learn(response.headers)
            if response.status_code != httpx.codes.OK:
                raise self._failure(response)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise Failure("answer_too_large", f"Voucherify's answer is over {LARGEST_ANSWER} bytes")
        try:
            return rows_of(bytes(body))
        except ValueError as wrong:
            raise Unavailable("unreadable_answer", "Voucherify's answer is no list of redemptions") from wrong

    def _failure(self, response: httpx.Response) -> Failure:
        status = response.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return Misconfigured(
                "voucherify_refused",
                f"Voucherify refuses the credentials (HTTP {status}): check REDEMPTIONS_VOUCHERIFY_APP_ID "
                "and _APP_TOKEN, of an API key for the server side that may read redemptions",
            )
        if status == httpx.codes.TOO_MANY_REQUESTS:
            seconds = self._pace.refused(response.headers)
            return Unavailable("rate_limited", "Voucherify's rate limit is used up (HTTP 429)", seconds)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.REQUEST_TIMEOUT:
            return Unavailable("voucherify_unavailable", f"Voucherify answers HTTP {status}")
        return Misconfigured(
            "voucherify_base_url",
            f"the list of redemptions was answered with HTTP {status}: check REDEMPTIONS_VOUCHERIFY_BASE_URL",
        )


def _wait(state: RetryCallState) -> float:
    failure = _failure_of(state)
    return BACKOFF(state) if failure.retry_after is None else failure.retry_after


def _tell(state: RetryCallState) -> None:
    seconds = 0.0 if state.next_action is None else state.next_action.sleep
    log.warning("voucherify_asked_again", reason=str(_failure_of(state)), seconds=round(seconds, 1))


def _failure_of(state: RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.exception()
