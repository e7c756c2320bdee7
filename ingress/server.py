"""Serving an ASGI app inside our own task: uvicorn without its signal handlers, logs and exits."""

import asyncio
import errno
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from events.failures import Misconfigured
from ingress.connection import BoundedConnection, ConnectionLimits
from ingress.gate import Gate
from ingress.gated_connection import GatedConnection

_BACKLOG = 2048
_ACCEPTORS = 32
"""Handles on the listening socket. uvloop takes one connection from each in a round (libuv #3696): with
a single one the last of a thousand that come to a busy door waits for a thousand of them."""
_LONGEST_STOP = 15
_OPEN_FILES = 65_536

Connections = Callable[..., BoundedConnection]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # Signals belong to the command, which stops the door before what stands behind it.


@asynccontextmanager
async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    limits: ConnectionLimits | None = None,
    gate: Gate | None = None,
    on_fault: Callable[[int], None] = lambda status: None,
) -> AsyncIterator[int]:
    """Serves until the block ends, then lets the requests under way finish. Yields the port that is bound.

    `port` 0: a free one. `gate`: of the app, if it has one. `on_fault`: told the status of each answer given
    without asking the app (400, 408, 431, and 503 when the gate is shut). Raises Misconfigured when the
    address cannot be had.
    """
    limits = limits or ConnectionLimits()
    connection: Connections = (
        partial(BoundedConnection, limits=limits, on_fault=on_fault)
        if gate is None
        else partial(GatedConnection, limits=limits, on_fault=on_fault, gate=gate)
    )
    _allow_many_connections()
    listener = _listener(host, port)
    others = [listener.dup() for _ in range(_ACCEPTORS - 1)]
    server = _Server(_config(app, limits, connection))
    bound: int = listener.getsockname()[1]
    serving = asyncio.create_task(server.serve(sockets=[listener, *others]), name=f"http on {host}:{bound}")
    try:
        yield bound
    finally:
        server.should_exit = True
        await serving


def _config(app: ASGIApp, limits: ConnectionLimits, connection: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=connection,  # type: ignore[arg-type]
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=limits.keep_alive,
        # Never needed as long as the limits hold: by then each request has been answered or refused.
        timeout_graceful_shutdown=int(limits.drain) + _LONGEST_STOP,
    )


def _allow_many_connections() -> None:
    """Each takes a descriptor, and many systems give a process 1,024 unless it asks: a thousand idle peers
    would keep everybody else out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < most:
        with suppress(OSError, ValueError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _listener(host: str, port: int) -> socket.socket:
    """Bound here, as uvicorn ends the whole process when it cannot."""
    try:
        family, *_, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as failure:
        raise Misconfigured("cannot_listen", f"cannot listen on {host}:{port}: {_why(failure)}") from failure


def _why(failure: OSError) -> str:
    if failure.errno == errno.EADDRINUSE:
        return "another process listens there; stop it or choose another port"
    return failure.strerror or str(failure)
