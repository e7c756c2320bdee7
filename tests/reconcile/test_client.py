"""Asking for a page: the documented query, the rate limit, and what is tried again."""

import httpx
import pytest

from events.failures import Failure, Misconfigured, Unavailable
from reconcile import client as client_module
from reconcile.client import TRIES, Account
from reconcile.client import Voucherify as Client
from reconcile.moments import Window, moment
from reconcile.pace import Pace
from tests.reconcile.conftest import Clock
from tests.reconcile.voucherify import APP_ID, Voucherify, a_redemption, body, reset, status

MARCH = Window(moment("2026-03-01"), moment("2026-04-01"))


async def test_a_page_is_asked_for_as_documented(client: Client, voucherify: Voucherify) -> None:
    voucherify.add(a_redemption("r_1", 1), a_redemption("r_2", 2))
    rows = await client.page(MARCH, 1)
    assert [b'"r_1"' in bytes(row) for row in rows] == [True, False]
    assert voucherify.queries == [
        {
            "limit": "100",
            "page": "1",
            "order": "created_at",
            "created_at[after]": "2026-03-01T00:00:00.000Z",
            "created_at[before]": "2026-04-01T00:00:00.000Z",
        }
    ]


@pytest.mark.parametrize(
    "trouble", [status(500), status(503), status(408), reset, body(b'{"redemptions": [{'), body(b"<html>")]
)
async def test_what_can_pass_is_tried_again(
    trouble: object, client: Client, voucherify: Voucherify, clock: Clock
) -> None:
    voucherify.add(a_redemption(seconds=1))
    voucherify.troubles = [trouble, trouble]  # type: ignore[list-item]
    assert len(await client.page(MARCH, 1)) == 1
    assert len(clock.waits) == 2


async def test_what_does_not_pass_is_given_up_after_so_many_tries(
    client: Client, voucherify: Voucherify
) -> None:
    voucherify.troubles = [status(500)] * 100
    with pytest.raises(Unavailable, match="HTTP 500"):
        await client.page(MARCH, 1)
    assert len(voucherify.queries) == TRIES


async def test_nobody_listening_is_a_failure_with_a_line(clock: Clock) -> None:
    async with Client(Account("http://127.0.0.1:1", APP_ID, "t"), Pace(clock), clock.pause) as client:
        with pytest.raises(Unavailable, match="does not answer"):
            await client.page(MARCH, 1)


async def test_an_answer_that_never_ends_is_given_up(
    client: Client, voucherify: Voucherify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="TimeoutError"):
        await client.page(MARCH, 1)


@pytest.mark.parametrize(("code", "line"), [(401, "credentials"), (403, "credentials"), (404, "BASE_URL")])
async def test_a_refusal_is_not_tried_again(
    code: int, line: str, client: Client, voucherify: Voucherify
) -> None:
    voucherify.troubles = [status(code)]
    with pytest.raises(Misconfigured, match=line):
        await client.page(MARCH, 1)
    assert len(voucherify.queries) == 1


async def test_the_token_goes_to_no_other_address(client: Client, voucherify: Voucherify) -> None:
    voucherify.troubles = [status(302, location=f"{voucherify.url}/elsewhere")]
    with pytest.raises(Misconfigured, match="HTTP 302"):
        await client.page(MARCH, 1)
    assert len(voucherify.queries) == 1


def test_the_token_is_in_no_traceback() -> None:
    assert "s3cret" not in repr(Account("https://api.voucherify.io", "app", "s3cret"))


async def test_an_answer_over_the_bound_is_not_held_in_memory(
    client: Client, voucherify: Voucherify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LARGEST_ANSWER", 1000)
    voucherify.add(*(a_redemption(f"r_{number}", number) for number in range(10)))
    with pytest.raises(Failure, match="over 1000 bytes"):
        await client.page(MARCH, 1)


async def test_after_a_429_it_waits_as_long_as_it_is_told(
    client: Client, voucherify: Voucherify, clock: Clock
) -> None:
    retry = str(int(clock.now()) + 40)
    voucherify.troubles = [status(429, retry_after="7"), status(429, x_rate_limit_retry=retry), status(429)]
    await client.page(MARCH, 1)
    assert clock.waits == [7, 33, 60]


async def test_never_more_than_half_of_the_limit_is_used(
    client: Client, voucherify: Voucherify, clock: Clock
) -> None:
    """A server that counts by the minute and tells when the next one begins."""
    used: dict[int, int] = {}

    def headers() -> dict[str, str]:
        minute = int(clock.now()) // 60
        used[minute] = used.get(minute, 0) + 1
        return {
            "X-Rate-Limit-Limit": "10",
            "X-Rate-Limit-Remaining": str(10 - used[minute]),
            "X-Rate-Limit-Retry": str((minute + 1) * 60),
        }

    voucherify.headers = headers
    for _ in range(23):
        await client.page(MARCH, 1)
    assert list(used.values()) == [5, 5, 5, 5, 3]


async def test_a_limit_by_the_hour_is_kept_even_if_nobody_tells_when_it_ends(
    client: Client, voucherify: Voucherify, clock: Clock
) -> None:
    used: dict[int, int] = {}

    def headers() -> dict[str, str]:
        hour = int(clock.now()) // 3600
        used[hour] = used.get(hour, 0) + 1
        return {"X-Rate-Limit-Limit": "100", "X-Rate-Limit-Remaining": str(100 - used[hour])}

    voucherify.headers = headers
    for _ in range(200):
        await client.page(MARCH, 1)
    assert max(used.values()) < 60


def test_headers_that_are_no_numbers_are_ignored(clock: Clock) -> None:
    pace = Pace(clock)
    pace.learn(httpx.Headers({"X-Rate-Limit-Limit": "many", "X-Rate-Limit-Remaining": "-1"}))
    assert pace.seconds == 0
