"""Our ingress on a log that confirms at once, as a process: the price of the server and its checks.

`python -m bench.door_without_log PORT`; ends with a signal.
"""

import asyncio
import sys

import uvloop
from prometheus_client import CollectorRegistry

from bench.commands import SECRET
from broker.protocols import Headers
from events.runtime import SystemRuntime
from ingress.app import Ingress, IngressSettings
from ingress.metrics import IngressMetrics
from ingress.server import serve


class NoLog:
    """A `Producer` that keeps nothing."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def append(
        self, topic: str, value: bytes, *, key: bytes | None, headers: Headers
    ) -> tuple[int, int]:
        return 0, 0


async def stand(port: int) -> None:
    settings = IngressSettings(topic="none", secrets=lambda: {"default": (SECRET,)})
    app = Ingress(settings, NoLog(), IngressMetrics(CollectorRegistry()), SystemRuntime())
    async with serve(app, "127.0.0.1", port, gate=app.gate):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(stand(int(sys.argv[1])))
