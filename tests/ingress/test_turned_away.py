"""A shut gate: what it refuses costs little, and who comes again at once is not listened to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ingress.connection import ConnectionLimits
from tests.events.payloads import a_success, body
from tests.ingress.by_hand import NEVER, Connections
from tests.ingress.conftest import Door, Doors
from tests.ingress.http import PATH, post, post_chunked

BODY = body(a_success())
ROOM_FOR_ONE: Any = {"max_waiting": 1, "append_deadline": NEVER}
TIRELESS = ConnectionLimits(rest=0.0)


@asynccontextmanager
async def shut(door: Door) -> AsyncIterator[None]:
    """A door with room for one, and one that waits; opened at the end."""
    door.log.open.clear()
    waiting = asyncio.create_task(door.ask(post(BODY)))
    await door.log.waiting.acquire()
    yield
    door.log.open.set()
    assert (await waiting).status == 202


async def test_it_says_when_to_come_again_and_is_counted(doors: Doors) -> None:
    door = await doors(**ROOM_FOR_ONE)
    async with shut(door):
        answer = await door.ask(post(BODY))
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.json == {"error": "too many requests at once"}
        assert answer.headers["content-type"] == "application/json"
    assert door.count("redemptions_ingress_requests_total", status="503") == 1
    assert len(door.log.records) == 1


async def test_nothing_is_done_for_it(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    door = await doors(**ROOM_FOR_ONE)
    async with shut(door):
        monkeypatch.delattr("ingress.app.Ingress.__call__")
        assert (await door.ask(post(BODY, secret=None))).status == 503
        monkeypatch.undo()


@pytest.mark.parametrize("request_", [post_chunked(BODY), post(BODY) + post(BODY)])
async def test_what_comes_otherwise_than_deliveries_do_is_refused_all_the_same(
    doors: Doors, request_: bytes
) -> None:
    door = await doors(**ROOM_FOR_ONE, limits=TIRELESS)
    async with shut(door):
        assert (await door.ask(request_)).status == 503
        peer = await door.peer()
        for byte in post(b"{}"):
            await peer.send(bytes([byte]))
        assert (await peer.answer()).status == 503


@pytest.mark.parametrize("line", ["connection: close", "connection: keep-alive"])
async def test_its_connection_lives_as_long_as_its_peer_wants(doors: Doors, line: str) -> None:
    door = await doors(**ROOM_FOR_ONE, limits=TIRELESS)
    peer = await door.peer()
    async with shut(door):
        await peer.send(post(BODY, line))
        answer = await peer.answer()
        assert (answer.status, answer.headers.get("connection") == "close") == (503, line.endswith("close"))
    if line.endswith("close"):
        assert await peer.until_closed() == b""
    else:
        await peer.send(post(BODY))
        assert (await peer.answer()).status == 202


async def test_a_sender_that_waits_for_our_word_may_not_go_on_after_its_refusal(doors: Doors) -> None:
    door = await doors(**ROOM_FOR_ONE)
    async with shut(door):
        peer = await door.peer()
        await peer.send(post(BODY, "expect: 100-continue"))
        assert (await peer.answer()).status == 100
        answer = await peer.answer()
        assert (answer.status, answer.headers["connection"]) == (503, "close")


async def test_a_probe_of_the_path_is_answered_as_ever(doors: Doors) -> None:
    door = await doors(**ROOM_FOR_ONE)
    async with shut(door):
        assert (await door.ask(f"GET {PATH} HTTP/1.1\r\nhost: t\r\n\r\n".encode())).status == 405


async def test_who_comes_again_at_once_is_not_listened_to_while_others_are(
    connections: Connections, doors: Doors
) -> None:
    door = await doors(**ROOM_FOR_ONE, limits=ConnectionLimits(rest=NEVER))
    impatient = await door.peer()
    async with shut(door):
        await impatient.send(post(BODY))
        assert (await impatient.answer()).status == 503
        await impatient.send(post(b'{"impatient": true}'))
    for number in range(10):
        assert (await door.ask(post(json.dumps(number).encode()))).status == 202
    assert len(door.log.records) == 11
    connections.listen_again()
    assert (await impatient.answer()).status == 202


async def test_a_crowd_that_never_pauses_leaves_room_for_one_who_comes_now_and_then(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.gated_connection._EAGER", NEVER)
    door = await doors(max_waiting=8, append_deadline=NEVER, limits=TIRELESS)
    crowd = [await door.peer() for _ in range(8)]
    for peer in crowd:
        await peer.send(post(BODY))
        assert (await peer.answer()).status == 202
    door.log.open.clear()
    for peer in crowd:
        await peer.send(post(BODY))
    for _ in range(7):
        await door.log.waiting.acquire()
    assert (await crowd[-1].answer()).status == 503
    polite = asyncio.create_task(door.ask(post(BODY)))
    await door.log.waiting.acquire()
    door.log.open.set()
    assert (await polite).status == 202
    assert {(await peer.answer()).status for peer in crowd[:-1]} == {202}


async def test_one_that_leaves_after_its_refusal_is_no_error(connections: Connections, doors: Doors) -> None:
    door = await doors(**ROOM_FOR_ONE, limits=ConnectionLimits(rest=NEVER))
    impatient = await door.peer()
    async with shut(door):
        await impatient.send(post(BODY))
        assert (await impatient.answer()).status == 503
        await impatient.close()
    connections.listen_again()
    assert (await door.ask(post(BODY))).status == 202


async def test_of_many_that_come_together_to_a_room_for_one_none_is_let_in_beside_it(doors: Doors) -> None:
    door = await doors(**ROOM_FOR_ONE)
    async with shut(door):
        peers = [await door.peer() for _ in range(100)]
        for peer in peers:
            await peer.send(post(BODY))
        assert {(await peer.answer()).status for peer in peers} == {503}
    assert len(door.log.records) == 1


async def test_the_time_in_which_a_sender_was_not_listened_to_is_the_logs_no_more(
    connections: Connections, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.gated_connection._AT_THE_END", NEVER)
    door = await doors(max_waiting=1, append_deadline=NEVER / 2, limits=ConnectionLimits(rest=NEVER))
    impatient = await door.peer()
    async with shut(door):
        await impatient.send(post(BODY))
        assert (await impatient.answer()).status == 503
    door.log.open.clear()
    await impatient.send(post(BODY))
    connections.listen_again()
    answer = await impatient.answer()
    assert (answer.status, answer.json) == (503, {"error": "the event could not be stored"})
