"""One process that has imported the product and forks a fresh `redemptions` for each command.

Importing takes a second and a half of a core, and these tests start some two hundred processes. What comes
out is a process like any other: its own environment, pid, output, exit code and death.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.end_to_end.arming import Kill, arm
from tests.end_to_end.clock import CLOCK, follow

LEASE_SECONDS = 2.0
"""Instead of 30: a killed worker's leases must end within a test."""


class Child:
    """A process of the nursery, with what the tests need of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._heard = b""
        self.pid = self._next_number(None)
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, -9 after SIGKILL. Raises TimeoutError."""
        if self._code is None:
            self._code = self._next_number(timeout)
            self._connection.close()
        return self._code

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except (TimeoutError, BlockingIOError):
            return None

    def _next_number(self, timeout: float | None) -> int:
        self._connection.settimeout(timeout)
        while b"\n" not in self._heard:
            self._heard += self._connection.recv(100) or b"-1\n"  # -1: the nursery is gone
        line, _, self._heard = self._heard.partition(b"\n")
        return int(line)


class Nursery:
    """The tests' side: starts the process at `path`, a Unix socket, and asks it for children."""

    def __init__(self, path: Path, lease_seconds: float = LEASE_SECONDS) -> None:
        self._path = path
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.nursery", path, str(lease_seconds)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        out: Path,
        kill: Kill | None,
    ) -> Child:
        """A process that runs `redemptions` with these arguments; its output goes to `out` and `out`.err."""
        order = {"arguments": arguments, "environment": environment, "cwd": str(cwd), "out": str(out)}
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._path))
        connection.sendall(json.dumps(order | {"kill": kill}).encode() + b"\n")
        return Child(connection)

    def close(self) -> None:
        """End it and whatever it still has running."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def tend(path: str, lease_seconds: float) -> None:
    """The nursery itself: fork whenever somebody connects."""
    import cli.process
    import cli.run
    import cli.status  # noqa: F401
    from consumer import delivery

    delivery.LEASE_SECONDS, delivery.RENEW_SECONDS = lease_seconds, lease_seconds / 4
    delivery.SETTLING_SECONDS, delivery.POLL_SECONDS = lease_seconds / 2, lease_seconds / 10
    delivery.TAKE_OVER_SECONDS = lease_seconds / 10
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(100)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()  # or each child would copy and search at its end what was imported here
    print("ready", flush=True)
    while True:
        if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
            os.killpg(0, signal.SIGKILL)  # the tests are gone: nothing of theirs goes on
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            _mind(connection)
        connection.close()


def _mind(connection: socket.socket) -> NoReturn:
    """In a process between: start the child, say who it is, and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order = json.loads(connection.makefile().readline())
    child = os.fork()
    if not child:
        connection.close()
        _become(order)
    connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(order: dict[str, Any]) -> NoReturn:
    from cli.main import main

    for number, suffix in ((1, ""), (2, ".err")):
        os.dup2(os.open(order["out"] + suffix, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["redemptions", *order["arguments"]]
    if clock := os.environ.get(CLOCK):
        follow(Path(clock))
    if order["kill"]:
        arm(Kill(*order["kill"]))
    main()
    raise AssertionError("main has returned")


if __name__ == "__main__":
    tend(sys.argv[1], float(sys.argv[2]))
