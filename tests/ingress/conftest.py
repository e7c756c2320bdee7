"""The door, served on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from prometheus_client import CollectorRegistry

from ingress.connection import ConnectionLimits
from ingress.metrics import IngressMetrics
from ingress.server import serve
from tests.ingress.by_hand import Connections
from tests.ingress.http import Answer, Peer
from tests.ingress.served import FakeLog, an_ingress


class Door:
    """A served ingress, the log behind it and the peers before it."""

    def __init__(self, port: int, log: FakeLog, registry: CollectorRegistry, peers: AsyncExitStack) -> None:
        self.log = log
        self._port = port
        self._registry = registry
        self._peers = peers

    async def peer(self) -> Peer:
        peer = await Peer.connect(self._port)
        self._peers.push_async_callback(peer.close)
        return peer

    async def ask(self, request: bytes) -> Answer:
        """One request on a connection of its own."""
        peer = await self.peer()
        await peer.send(request)
        return await peer.answer(to_head=request.startswith(b"HEAD"))

    def count(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(name, labels) or 0.0


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Connections on both loops, which differ in what may be done to one that ends; the rest as in life."""
    return LOOPS if item.path.stem == "test_connection" else {"uvloop": uvloop.new_event_loop}


Doors = Callable[..., Awaitable[Door]]


@pytest.fixture
async def doors() -> AsyncIterator[Doors]:
    """Builds doors: takes `limits`, and what IngressSettings take."""
    async with AsyncExitStack() as stack:

        async def build(*, limits: ConnectionLimits | None = None, **settings: Any) -> Door:
            log, registry = FakeLog(), CollectorRegistry()
            metrics = IngressMetrics(registry)
            app = an_ingress(log, metrics, **settings)
            serving = serve(app, "127.0.0.1", 0, limits=limits, gate=app.gate, on_fault=metrics.count_answer)
            port = await stack.enter_async_context(serving)
            return Door(port, log, registry, stack)

        yield build


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """Those of the doors built in this test: no deadline of theirs passes by itself."""
    connections = Connections()
    monkeypatch.setattr("ingress.server.GatedConnection", connections)
    return connections


@pytest.fixture
async def door(doors: Doors) -> Door:
    return await doors()
