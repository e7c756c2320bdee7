"""The log is slow, away, full or broken: the sender is told to come again, and nothing is accepted."""

import asyncio

import pytest

from broker.protocols import TooLarge
from events.failures import Misconfigured, Unavailable
from tests.events.payloads import a_success, body
from tests.ingress.by_hand import NEVER
from tests.ingress.conftest import Door, Doors
from tests.ingress.http import post

BODY = body(a_success())


@pytest.mark.parametrize(
    ("failure", "retry_after"),
    [
        (Unavailable("no_broker", "no broker answers"), "5"),
        (Unavailable("disk_full", "the disk is full", retry_after=11.2), "12"),
        (Unavailable("busy", "busy", retry_after=0.0), "1"),
        (Misconfigured("not_allowed", "the topic may not be written"), "5"),
        (RuntimeError("out of the blue"), "5"),
        (TimeoutError(), "5"),
    ],
)
async def test_a_failing_log_is_503_and_works_again_afterwards(
    door: Door, failure: Exception, retry_after: str
) -> None:
    door.log.failure = failure
    answer = await door.ask(post(BODY))
    assert (answer.status, answer.headers["retry-after"]) == (503, retry_after)
    assert set(answer.json) == {"error"}
    door.log.failure = None
    assert (await door.ask(post(BODY))).status == 202


async def test_a_record_the_log_finds_too_large_is_413(door: Door) -> None:
    door.log.failure = TooLarge()
    assert (await door.ask(post(BODY))).status == 413


async def test_a_log_that_does_not_confirm_in_time_is_503(doors: Doors) -> None:
    door = await doors(append_deadline=0.01)
    door.log.open.clear()
    answer = await door.ask(post(BODY))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


async def test_more_requests_than_may_wait_are_sent_away_at_once(doors: Doors) -> None:
    door = await doors(max_waiting=2, append_deadline=NEVER)
    door.log.open.clear()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(door.ask(post(BODY))) for _ in range(2)]
        await door.log.waiting.acquire()
        await door.log.waiting.acquire()
        answer = await door.ask(post(BODY))
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        door.log.open.set()
    assert [task.result().status for task in waiting] == [202, 202]
    assert (await door.ask(post(BODY))).status == 202


async def test_more_bytes_than_there_is_room_for_are_sent_away_and_room_is_given_back(doors: Doors) -> None:
    door = await doors(max_held_bytes=len(BODY) + 10)
    door.log.open.clear()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(door.ask(post(BODY)))
        await door.log.waiting.acquire()
        assert (await door.ask(post(BODY))).status == 503
        door.log.open.set()
    assert waiting.result().status == 202
    for _ in range(3):
        assert (await door.ask(post(BODY))).status == 202


async def test_a_sender_that_leaves_while_the_log_is_slow_takes_no_record_along(door: Door) -> None:
    door.log.open.clear()
    peer = await door.peer()
    await peer.send(post(BODY))
    await door.log.waiting.acquire()
    await peer.close()
    door.log.open.set()
    assert (await door.ask(post(BODY))).status == 202
    assert [record.value for record in door.log.records] == [BODY, BODY]


async def test_accepted_events_are_counted_by_type_and_refusals_by_status(door: Door) -> None:
    await door.ask(post(BODY))
    await door.ask(post(BODY, secret=None))
    await door.ask(b"GET /nowhere HTTP/1.1\r\n\r\n")
    await door.ask(b"nonsense\r\n\r\n")
    counted = {
        status: door.count("redemptions_ingress_requests_total", status=status)
        for status in ("202", "400", "401", "404")
    }
    assert counted == dict.fromkeys(counted, 1.0)
    assert door.count("redemptions_ingress_events_total", type="succeeded") == 1
    assert door.count("redemptions_ingress_last_accepted_timestamp_seconds") > 0
