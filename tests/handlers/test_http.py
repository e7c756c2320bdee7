"""What an HTTP call came to: accepted, refused, or to be tried again, and when."""

import httpx
import pytest

from events.failures import Refused, Unavailable
from handlers.http import failure_of_answer, failure_of_error, retry_after

NOW = 1_700_000_000.0
A_MINUTE_LATER = "Tue, 14 Nov 2023 22:14:20 GMT"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_accepted(status: int) -> None:
    assert failure_of_answer(status, {}, NOW) is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_waiting_can_cure_is_unavailable(status: int) -> None:
    failure = failure_of_answer(status, {"retry-after": "7"}, NOW)
    assert isinstance(failure, Unavailable)
    assert (failure.reason, failure.retry_after) == (f"http_{status}", 7.0)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 308, 400, 401, 404, 409, 410, 422])
def test_other_statuses_are_refusals_redirects_too(status: int) -> None:
    failure = failure_of_answer(status, {"location": "https://elsewhere.example"}, NOW)
    assert isinstance(failure, Refused)
    assert failure.answered


@pytest.mark.parametrize(
    ("status", "sent"), [(429, False), (503, False), (500, True), (502, True), (504, True)]
)
def test_some_answers_leave_it_open_whether_something_was_done(status: int, sent: bool) -> None:
    failure = failure_of_answer(status, {}, NOW)
    assert isinstance(failure, Unavailable)
    assert failure.sent is sent


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        (A_MINUTE_LATER, 60.0),
        ("Tue, 14 Nov 2023 22:14:20", 60.0),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        ("\u0661\u0662", None),
        ("Tue, 99 Nov 99999 22:14:20 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("error", "reason", "sent"),
    [
        (httpx.ConnectError("to https://key@host"), "no_answer", False),
        (httpx.ConnectTimeout("slow"), "timed_out", False),
        (httpx.PoolTimeout("busy"), "timed_out", False),
        (httpx.ReadTimeout("slow"), "timed_out", True),
        (httpx.ReadError("reset"), "no_answer", True),
        (httpx.RemoteProtocolError("cut"), "no_answer", True),
        (ConnectionRefusedError("nobody"), "no_answer", False),
        (ConnectionResetError("reset"), "no_answer", True),
        (TimeoutError(), "timed_out", True),
    ],
)
def test_no_answer_is_unavailable_and_says_whether_the_request_went_out(
    error: httpx.HTTPError | OSError, reason: str, sent: bool
) -> None:
    failure = failure_of_error(error)
    assert isinstance(failure, Unavailable)
    assert (failure.reason, failure.sent) == (reason, sent)
    assert "host" not in str(failure)


def test_a_url_that_cannot_be_called_is_refused() -> None:
    assert isinstance(failure_of_error(httpx.UnsupportedProtocol("ftp")), Refused)
