"""Requests as no decent client sends them: slow, broken off, pipelined, contradictory, endless."""

import asyncio
import logging

import pytest

from ingress.connection import ConnectionLimits
from tests.events.payloads import a_success, body
from tests.ingress.by_hand import Connections
from tests.ingress.conftest import Door, Doors
from tests.ingress.http import PATH, post, post_chunked

BODY = body(a_success())


@pytest.mark.parametrize(
    "beginning",
    [
        b"P",
        f"POST {PATH} HTTP/1.1\r\nhost: te".encode(),
        post(BODY)[:-1],
        post(BODY, secret=None)[: -len(BODY)],
        post_chunked(BODY)[:-1],
        b"GET / HTTP/1.1\r\n",
    ],
)
async def test_a_request_that_is_not_whole_in_time_is_408_and_its_connection_closed(
    connections: Connections, doors: Doors, beginning: bytes
) -> None:
    door = await doors()
    peer = await door.peer()
    await peer.send(beginning)
    assert await connections.pass_deadline(after=len(beginning))
    answer = await peer.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert answer.json == {"error": "request timeout"}
    assert await peer.until_closed() == b""
    assert door.count("redemptions_ingress_requests_total", status="408") == 1
    assert door.log.records == []


async def test_the_deadline_is_that_of_the_whole_request_however_lively_it_trickles(
    connections: Connections, door: Door
) -> None:
    peer = await door.peer()
    beginning, trickle = post(BODY, length=1_000_000), 200
    await peer.send(beginning)
    for arrived in range(trickle):
        await peer.send(b" ")
        # From the connection's first moment on; no byte has begun it anew.
        assert await connections.deadlines_begun(after=len(beginning) + arrived + 1) == 1
    assert await connections.pass_deadline(after=len(beginning) + trickle)
    assert (await peer.answer()).status == 408


async def test_a_request_has_thirty_seconds_and_a_silent_connection_is_closed_after_as_many(
    doors: Doors,
) -> None:
    assert ConnectionLimits().request_deadline == 30.0
    door = await doors(limits=ConnectionLimits(request_deadline=0.05))
    silent = await door.peer()
    assert await silent.until_closed() == b""


async def test_a_second_request_has_a_deadline_of_its_own(connections: Connections, door: Door) -> None:
    peer = await door.peer()
    await peer.send(post(BODY))
    assert (await peer.answer()).status == 202
    assert not await connections.pass_deadline(after=len(post(BODY)))
    await peer.send(post(BODY)[:50])
    assert await connections.pass_deadline(after=len(post(BODY)) + 50)
    assert (await peer.answer()).status == 408


async def test_an_answer_may_take_longer_than_the_request(connections: Connections, door: Door) -> None:
    door.log.open.clear()
    peer = await door.peer()
    await peer.send(post(BODY))
    await door.log.waiting.acquire()
    assert not await connections.pass_deadline(after=len(post(BODY)))
    door.log.open.set()
    assert (await peer.answer()).status == 202


async def test_a_rest_of_body_that_never_comes_behind_an_answer_closes_quietly(
    connections: Connections, doors: Doors
) -> None:
    door = await doors(max_body_bytes=100)
    peer = await door.peer()
    beginning = post(BODY, length=1_000_000)
    await peer.send(beginning)
    assert (await peer.answer()).status == 413
    assert await connections.pass_deadline(after=len(beginning))
    assert await peer.until_closed() == b""


async def test_a_connection_serves_many_requests_one_after_the_other(door: Door) -> None:
    peer = await door.peer()
    for _ in range(3):
        await peer.send(post(BODY))
        assert (await peer.answer()).status == 202


async def test_pipelined_requests_are_answered_in_their_order(door: Door) -> None:
    peer = await door.peer()
    await peer.send(post(BODY) + post(BODY, secret=None) + post_chunked(BODY) + b"GET / HTTP/1.1\r\n\r\n")
    assert [(await peer.answer()).status for _ in range(4)] == [202, 401, 202, 404]


async def test_rubbish_behind_a_request_does_not_cost_its_answer(door: Door) -> None:
    door.log.open.clear()
    peer = await door.peer()
    await peer.send(post(BODY) + b"\x00rubbish")
    await door.log.waiting.acquire()
    door.log.open.set()
    assert (await peer.answer()).status == 202
    await peer.until_closed()


async def test_several_requests_whose_connection_breaks_are_no_error(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.log.open.clear()
    broken, left = await door.peer(), await door.peer()
    for peer in (broken, left):
        await peer.send(post(BODY) + post(BODY))
        await door.log.waiting.acquire()
    await broken.send(b"rubbish\r\n\r\n")
    await left.close()
    assert await broken.until_closed() == b""
    door.log.open.set()
    assert (await door.ask(post(BODY))).status == 202
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_body_may_come_in_pieces_of_any_size(door: Door, size: int) -> None:
    assert (await door.ask(post_chunked(BODY, size=size))).status == 202
    assert door.log.records[0].value == BODY


async def test_a_request_may_come_byte_by_byte(door: Door) -> None:
    peer = await door.peer()
    for byte in post(b'{"a":1}'):
        await peer.send(bytes([byte]))
    assert (await peer.answer()).status == 202


NO_HTTP = [
    post(BODY, "transfer-encoding: chunked"),
    post(BODY, "content-length: 5"),
    post(BODY, "content-length: 5", length=5),
    post(BODY).replace(b"content-length: ", b"content-length: -"),
    post(BODY).replace(b"content-length: ", b"content-length: +"),
    post(BODY).replace(b"content-length: ", b"content-length: 0x"),
    post(BODY, length=10**30),
    post_chunked(BODY).replace(b"\r\n\r\n3e8\r\n", b"\r\n\r\nzz\r\n"),
    post_chunked(BODY).replace(b"\r\n\r\n3e8\r\n", b"\r\n\r\n-1\r\n"),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST\r\n\r\n",
    f"POST {PATH} HTTP/9.9\r\n\r\n".encode(),
    "POST /webhooks/vouchérify HTTP/1.1\r\n\r\n".encode(),
    f"POST {PATH} HTTP/1.1\r\nbad header\r\n\r\n".encode(),
    f"POST {PATH} HTTP/1.1\r\na: b\r\n c: folded\r\n\r\n".encode(),
    b"CONNECT test:80 HTTP/1.1\r\nhost: test\r\n\r\n",
    b"POST http:// HTTP/1.1\r\n\r\n",
]


async def test_what_is_no_proper_http_is_400_and_leaves_no_record(door: Door) -> None:
    for request in NO_HTTP:
        peer = await door.peer()
        await peer.send(request)
        answer = await peer.answer()
        assert (request, answer.status, answer.headers["connection"]) == (request, 400, "close")
        await peer.close()
    assert door.log.records == []


async def test_headers_that_are_too_many_or_too_long_are_431(door: Door) -> None:
    for headers in ([f"x-{number}: 1" for number in range(200)], ["x-long: " + "x" * 40_000]):
        answer = await door.ask(post(BODY, *headers))
        assert (answer.status, answer.headers["connection"]) == (431, "close")


@pytest.mark.parametrize(
    "beginning",
    [
        f"POST {PATH}".encode(),
        f"POST {PATH} HTTP/1.1\r\nx-endless: ".encode(),
        post_chunked(b"{}").removesuffix(b"\r\n") + b"x-trailer: ",
    ],
)
async def test_a_head_or_trailer_without_end_is_431_before_it_fills_the_memory(
    door: Door, beginning: bytes
) -> None:
    peer = await door.peer()
    await peer.send(beginning)

    async def flood() -> None:
        while True:
            await peer.send(b"x" * 10_000)

    flooding = asyncio.create_task(flood())
    answer = await peer.answer()
    assert answer.status == 431
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)
    assert door.log.records == []


async def test_a_sender_that_leaves_in_the_middle_is_no_error(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    for beginning in (b"POST", post(BODY)[:-1], post_chunked(BODY)[:-5]):
        peer = await door.peer()
        await peer.send(beginning)
        await peer.close()
    assert (await door.ask(post(BODY))).status == 202
    assert len(door.log.records) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_sender_that_waits_for_our_word_gets_it(door: Door) -> None:
    peer = await door.peer()
    whole = post(BODY, "expect: 100-continue")
    await peer.send(whole.removesuffix(BODY))
    assert (await peer.answer()).status == 100
    await peer.send(BODY)
    assert (await peer.answer()).status == 202


async def test_a_sender_that_waits_for_our_word_and_is_refused_may_not_go_on(doors: Doors) -> None:
    door = await doors(max_body_bytes=10)
    peer = await door.peer()
    await peer.send(post(BODY, "expect: 100-continue").removesuffix(BODY))
    answer = await peer.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert await peer.until_closed() == b""


async def test_a_request_that_offers_another_protocol_is_taken_in_this_one(door: Door) -> None:
    offer = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
    )
    for request in (post(BODY, *offer), post_chunked(BODY, *offer)):
        for pieces in ([request], [request[:100], request[100:]], [bytes([byte]) for byte in request]):
            peer = await door.peer()
            for piece in pieces:
                await peer.send(piece)
            assert (await peer.answer()).status == 202
            assert await peer.until_closed() == b""
    assert [record.value for record in door.log.records] == [BODY] * 6


async def test_a_peer_that_wants_to_close_reads_the_answer_to_a_body_that_is_too_large(doors: Doors) -> None:
    door = await doors(max_body_bytes=1000)
    peer = await door.peer()
    request = post(b" " * 10_000_000, "connection: close")
    await peer.send(request[:5_000_000])
    assert (await peer.answer()).status == 413
    await peer.send(request[5_000_000:])  # fails if the server has closed by now
    assert await peer.until_closed() == b""


async def test_a_peer_that_sends_on_after_a_refusal_is_not_reset_before_it_reads_why(door: Door) -> None:
    peer = await door.peer()
    await peer.send(b"nonsense\r\n\r\n")
    assert (await peer.answer()).status == 400
    assert await peer.until_closed() == b""
    for _ in range(20):
        await peer.send(b"x" * 100_000)


async def test_a_sender_that_waits_for_our_word_and_sends_rubbish_is_no_error(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    bad_chunk = post_chunked(BODY, "expect: 100-continue").replace(b"\r\n\r\n3e8\r\n", b"\r\n\r\nzz\r\n")
    peer = await door.peer()
    await peer.send(bad_chunk)
    assert (await peer.answer()).status == 400
    await peer.close()
    assert (await door.ask(post(BODY))).status == 202
    assert door.count("redemptions_ingress_requests_total", status="503") == 0


async def test_a_peer_that_sends_on_after_a_refusal_is_cut_off(doors: Doors) -> None:
    door = await doors(limits=ConnectionLimits(linger=0.05))
    peer = await door.peer()
    await peer.send(b"nonsense\r\n\r\n")
    assert (await peer.answer()).status == 400
    with pytest.raises(ConnectionError):
        while True:
            await peer.send(b"more nonsense")
            await asyncio.sleep(0)


async def test_http_1_0_is_answered_and_closed(door: Door) -> None:
    peer = await door.peer()
    await peer.send(post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await peer.answer()).status == 202
    assert await peer.until_closed() == b""
