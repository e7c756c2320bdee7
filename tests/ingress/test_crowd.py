"""Many peers at once: those that do nothing, and those that send too much, cost the others nothing."""

import asyncio
import resource
import tracemalloc
from collections.abc import Iterator

import pytest

from ingress.connection import ConnectionLimits
from tests.events.payloads import a_success, body
from tests.ingress.conftest import Door, Doors
from tests.ingress.http import PATH, post

BODY = body(a_success())
CROWD = 1000


@pytest.fixture
def few_open_files() -> Iterator[None]:
    """The soft limit that many systems begin with."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_thousand_idle_connections_keep_nobody_from_being_served(
    few_open_files: None, doors: Doors
) -> None:
    door = await doors()
    beginnings = (b"", b"P", f"POST {PATH} HTTP/1.1\r\nhost: te".encode(), post(BODY)[:-1])
    crowd = await asyncio.gather(*(door.peer() for _ in range(CROWD)))
    for number, peer in enumerate(crowd):
        await peer.send(beginnings[number % len(beginnings)])
    for _ in range(10):
        assert (await door.ask(post(BODY))).status == 202
    unfinished = [peer for number, peer in enumerate(crowd) if number % len(beginnings) == 3]
    for peer in unfinished:
        await peer.send(BODY[-1:])
    assert {(await peer.answer()).status for peer in unfinished} == {202}, "they had lost nothing either"


async def test_a_crowd_of_large_bodies_takes_no_more_memory_than_it_may(doors: Doors) -> None:
    mebibyte = 1024 * 1024
    door = await doors(max_held_bytes=8 * mebibyte, max_body_bytes=2 * mebibyte)
    beginning = post(b" " * mebibyte, length=2 * mebibyte)
    tracemalloc.start()
    try:
        crowd = [await door.peer() for _ in range(64)]
        for peer in crowd:
            await peer.send(beginning)
        sent_away = [asyncio.create_task(peer.answer()) for peer in crowd]
        done, waiting = await asyncio.wait(sent_away, return_when=asyncio.FIRST_COMPLETED)
        while len(waiting) > 8:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {task.result().status for task in done} == {503}
    assert all("retry-after" in task.result().headers for task in done)
    # What the door holds, what is under way to it, and what the test itself sends.
    assert most < 64 * mebibyte
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await door.ask(post(BODY))).status in (202, 503)


def test_the_limits_are_those_that_are_documented() -> None:
    limits = ConnectionLimits()
    assert (limits.request_deadline, limits.head_bytes, limits.header_count) == (30.0, 32 * 1024, 100)


EVERY_REFUSAL = {
    400: b"nonsense\r\n\r\n",
    401: post(BODY, secret=None),
    404: post(BODY, path="/"),
    405: f"GET {PATH} HTTP/1.1\r\nhost: t\r\n\r\n".encode(),
    413: post(BODY, length=10**9),
    415: post(BODY, "content-encoding: gzip"),
    431: post(BODY, *(f"x-{number}: 1" for number in range(200))),
}


async def test_no_answer_tells_a_stranger_what_runs_here(door: Door) -> None:
    for status, request in EVERY_REFUSAL.items():
        answer = await door.ask(request)
        assert answer.status == status
        assert not {"server", "x-powered-by", "via", "location"} & set(answer.headers)
        assert list(answer.json) == ["error"]
        told = str(answer.headers).lower() + answer.body.decode().lower()
        assert not any(
            word in told for word in ("uvicorn", "python", "starlette", "traceback", "kafka", "0.1.0")
        )


async def test_an_error_of_ours_is_503_and_says_nothing_of_itself(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("in /srv/secret/path.py")

    monkeypatch.setattr("ingress.app.matching_secret", broken)
    answer = await door.ask(post(BODY))
    assert (answer.status, answer.json) == (503, {"error": "internal error"})
    assert "retry-after" in answer.headers
