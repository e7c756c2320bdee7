"""Requests that two parties could read differently: where one ends and the next begins."""

import pytest

from ingress.connection import ConnectionLimits
from tests.ingress.conftest import Doors
from tests.ingress.http import PATH, Answer, Peer, post

INSIDE = post(b'{"from":"inside"}')
"""A whole request, signed: whoever reads it as one has been fooled."""
CUT_SHORT = b"0\r\n\r\n" + INSIDE
"""The end of a chunked body, and what hides behind it."""


def request(*headers: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "host: test", *headers, "", ""]).encode("latin-1")


AMBIGUOUS = {
    "both lengths": request(f"content-length: {len(CUT_SHORT)}", "transfer-encoding: chunked") + CUT_SHORT,
    "both lengths, the other first": request("transfer-encoding: chunked", "content-length: 5") + CUT_SHORT,
    "two lengths": request("content-length: 5", f"content-length: {len(CUT_SHORT)}") + CUT_SHORT,
    "the same length twice": request("content-length: 5", "content-length: 5") + CUT_SHORT,
    "a list of lengths": request("content-length: 5, 5") + CUT_SHORT,
    "a length with a gap": request("content-length: 5 5") + CUT_SHORT,
    "a blank before the colon": request("content-length : 5") + CUT_SHORT,
    "a hidden coding": request("transfer-encoding : chunked", "content-length: 40") + CUT_SHORT,
    "a coding behind a vertical tab": request("transfer-encoding:\x0bchunked", "content-length: 9")
    + CUT_SHORT,
    "an unknown coding": request("transfer-encoding: xchunked") + CUT_SHORT,
    "no coding": request("transfer-encoding: identity", "content-length: 5") + CUT_SHORT,
    "chunked, but not at last": request("transfer-encoding: chunked, identity") + CUT_SHORT,
    "chunked twice": request("transfer-encoding: chunked, chunked") + CUT_SHORT,
    "two codings in two lines": request("transfer-encoding: identity", "transfer-encoding: chunked")
    + CUT_SHORT,
    "compressed and chunked": request("transfer-encoding: gzip, chunked") + CUT_SHORT,
    "a chunk's size with a prefix": request("transfer-encoding: chunked") + b"0x0\r\n\r\n" + INSIDE,
    "a chunk's size with a blank": request("transfer-encoding: chunked") + b"1 \r\n0\r\n" + CUT_SHORT,
    "a chunk's size over 64 bits": request("transfer-encoding: chunked") + b"1" + b"0" * 17 + b"\r\n0\r\n",
    "a chunk longer than it says": request("transfer-encoding: chunked") + b"1\r\n00\r\n" + CUT_SHORT,
    "an extension with a bare line feed": request("transfer-encoding: chunked") + b"1;\n0\r\n" + CUT_SHORT,
    "an extension with an open quote": request("transfer-encoding: chunked") + b'0;a="\r\n\r\n' + INSIDE,
    "bare line feeds": request("content-length: 0").replace(b"\r\n", b"\n") + INSIDE,
    "a bare carriage return": request("x: y\rcontent-length: 9", "content-length: 0") + INSIDE,
    "a zero byte": request("x: y\x00z", "content-length: 0") + INSIDE,
    "a length in a trailer": request("transfer-encoding: chunked")
    + b"1\r\n0\r\n0\r\ncontent-length: 9\r\n\r\n"
    + INSIDE,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_with_two_readings_is_400_and_nothing_behind_it_is_read(
    doors: Doors, name: str
) -> None:
    door = await doors(limits=ConnectionLimits(linger=0.01))
    peer = await door.peer()
    await peer.send(AMBIGUOUS[name])
    answer = await peer.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert await peer.until_closed() == b""
    assert door.log.records == []


async def answers(peer: Peer, count: int) -> list[Answer]:
    return [await peer.answer() for _ in range(count)]


async def test_one_coding_however_it_is_written_is_read_and_what_follows_is_a_request(doors: Doors) -> None:
    door = await doors()
    for coding in ("transfer-encoding: chunked", "Transfer-Encoding:\tChunked "):
        peer = await door.peer()
        await peer.send(request(coding) + CUT_SHORT)
        assert [answer.status for answer in await answers(peer, 2)] == [401, 202]


async def test_a_signature_behind_the_body_beside_one_before_it_is_one_too_many(doors: Doors) -> None:
    door = await doors()
    signed = INSIDE.partition(b"x-voucherify-signature: ")[2][:64]
    body = b'{"from":"inside"}'
    head = request("transfer-encoding: chunked", "x-voucherify-signature: " + "0" * 64)
    chunk = b"%x\r\n%b\r\n0\r\nx-voucherify-signature: %b\r\n\r\n" % (len(body), body, signed)
    assert (await door.ask(head + chunk)).status == 401


async def test_another_host_in_the_request_line_changes_nothing(doors: Doors) -> None:
    door = await doors()
    assert (await door.ask(post(b"{}").replace(PATH.encode(), b"http://other" + PATH.encode()))).status == 202
    assert (await door.ask(post(b"{}").replace(PATH.encode(), b"http://other/metrics"))).status == 404
