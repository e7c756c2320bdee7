"""Starting and stopping to serve."""

import asyncio
import socket

import pytest
from starlette.responses import Response

from events.failures import Misconfigured
from ingress.connection import ConnectionLimits
from ingress.server import serve
from tests.events.payloads import a_success, body
from tests.ingress.http import Peer, post
from tests.ingress.served import FakeLog, an_ingress

BODY = body(a_success())


async def test_a_busy_port_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"cannot listen on 127.0.0.1:{port}: another process"):
            async with serve(Response(), "127.0.0.1", port):
                raise AssertionError("served all the same")


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_an_address_that_is_not_ours_is_one_clear_sentence(host: str) -> None:
    with pytest.raises(Misconfigured, match=f"cannot listen on {host}:0: "):
        async with serve(Response(), host, 0):
            raise AssertionError("served all the same")


async def test_a_request_under_way_is_finished_before_the_server_stops() -> None:
    log = FakeLog()
    log.open.clear()
    async with serve(an_ingress(log), "127.0.0.1", 0) as port:
        peer = await Peer.connect(port)
        await peer.send(post(BODY))
        await log.waiting.acquire()
        asyncio.get_running_loop().call_soon(log.open.set)
    assert (await peer.answer()).status == 202
    assert await peer.until_closed() == b""
    await peer.close()
    with pytest.raises(ConnectionRefusedError):
        await Peer.connect(port)


async def test_idle_and_unfinished_connections_do_not_keep_the_server() -> None:
    limits = ConnectionLimits(drain=0.05, linger=0.05)
    async with serve(an_ingress(FakeLog()), "127.0.0.1", 0, limits=limits) as port:
        silent, served, unfinished = [await Peer.connect(port) for _ in range(3)]
        await served.send(post(BODY))
        assert (await served.answer()).status == 202
        await unfinished.send(post(BODY, "expect: 100-continue").removesuffix(BODY))
        assert (await unfinished.answer()).status == 100
    assert (await unfinished.answer()).status == 408
    for peer in (silent, served, unfinished):
        assert await peer.until_closed() == b""
        await peer.close()


async def test_a_peer_that_does_not_read_its_answer_does_not_keep_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    huge = Response(b"x" * 50_000_000)
    async with serve(huge, "127.0.0.1", 0, limits=ConnectionLimits(request_deadline=0.5)) as port:
        peer = await Peer.connect(port)
        await peer.send(b"GET / HTTP/1.1\r\n\r\n")
        await peer.first_byte()
    await peer.close()
    assert caplog.records == []  # uvicorn complains when it has to give up waiting


async def test_many_that_come_to_a_busy_door_are_taken_in_few_rounds_of_the_loop() -> None:
    """Taken in one by one, the last of them would wait for as many rounds as there are connections."""
    count, rounds, loop = 200, 0, asyncio.get_running_loop()
    async with serve(an_ingress(FakeLog()), "127.0.0.1", 0) as port:
        peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for peer in peers:
            peer.sendall(b"nonsense\r\n\r\n")
            peer.setblocking(False)
        answered = asyncio.gather(*(loop.sock_recv(peer, 1) for peer in peers))
        while not answered.done():
            rounds += 1
            await asyncio.sleep(0)
        for peer in peers:
            peer.close()
    assert set(answered.result()) == {b"H"}
    assert rounds < count / 2
