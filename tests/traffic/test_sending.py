"""A load on its way to an ingress that says no, says nothing, or says later."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from traffic.sending import Sending

Answering = Callable[[int], bytes]
"""The response to request number n; empty: hang up."""


def status(code: int) -> bytes:
    return b"HTTP/1.1 %d x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % code


@asynccontextmanager
async def ingress(answering: Answering) -> AsyncIterator[str]:
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.write(answering(requests))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_what_is_told_later_or_nothing_is_sent_again_until_it_is_accepted() -> None:
    answers = {1: status(503), 2: b"", 3: status(202)}
    async with ingress(answers.__getitem__) as url:
        sending = Sending([url], "secret", rate=1000, at_once=1)
        await sending.send([b"{}"])
    assert sending.accepted == {0}
    assert (sending.tries[0], dict(sending.answers)) == (3, {503: 1, 0: 1, 202: 1})


@pytest.mark.parametrize("code", [401, 413, 404])
async def test_what_is_refused_for_good_is_not_sent_again(code: int) -> None:
    async with ingress(lambda _: status(code)) as url:
        sending = Sending([url], "secret", rate=1000)
        await sending.send([b"{}", b"[]"])
    assert not sending.accepted
    assert sending.tries.total() == 2


async def test_an_ingress_that_is_away_for_good_is_given_up() -> None:
    async with ingress(lambda _: status(503)) as url:
        sending = Sending([url], "secret", rate=1000, patience=0.01)
        await sending.send([b"{}"] * 40)
    assert not sending.accepted
