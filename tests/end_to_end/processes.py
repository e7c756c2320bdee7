"""Runs `redemptions` as processes: starts them, waits for them, asks them, ends them by their pid."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.end_to_end.arming import Kill
from tests.end_to_end.nursery import Nursery

COMMAND = Path(sys.executable).with_name("redemptions")
START_SECONDS = 40.0
SECRET = "whsec-of-the-end-to-end-tests"
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")


def until(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """Look until it is so, and return what was found. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.03)
    return found


def free_port() -> int:
    """Below the range that systems hand out by themselves: nobody else is given it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Process(Protocol):
    """What a child and `subprocess.Popen` have in common."""

    pid: int

    def wait(self, timeout: float | None = None) -> int: ...

    def poll(self) -> int | None: ...


class Running:
    """A process that serves, with its admin port."""

    def __init__(self, process: Process, out: Path, admin_port: int) -> None:
        self._process = process
        self._out = out
        self.pid = process.pid
        self.admin_port = admin_port

    @property
    def err(self) -> str:
        return self._out.with_name(f"{self._out.name}.err").read_text()

    @property
    def out(self) -> str:
        return self._out.read_text()

    def probe(self, what: str) -> int | None:
        """The status of /health/live or /health/ready; None when nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request("GET", f"/health/{what}")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def metrics(self) -> str:
        """What /metrics answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def probe_until_answered(self, what: str) -> int:
        return int(until(lambda: self.probe(what), f"{self._out.name} answers"))

    def wait_ready(self) -> "Running":
        def is_ready() -> bool:
            assert self._process.poll() is None, f"ended while starting:\n{self.err}"
            return self.probe("ready") == 200

        until(is_ready, f"{self._out.name} is ready")
        return self

    def wait_end(self, seconds: float = START_SECONDS) -> int:
        """The exit code; -9 for one that was killed."""
        try:
            return self._process.wait(seconds)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise AssertionError(f"still runs after {seconds:g} s:\n{self.err}") from None

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        if not self.has_ended():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """No goodbye to anybody."""
        self.send(signal.SIGKILL)
        self.wait_end()

    def stop(self) -> int:
        """Ask it to end, and wait for its exit code."""
        self.send(signal.SIGTERM)
        return self.wait_end()


class Site:
    """One deployment: its settings and data dir, and every process that was started in it."""

    def __init__(self, directory: Path, nursery: Nursery, **settings: object) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.ingress_port = free_port()
        self.url = f"http://127.0.0.1:{self.ingress_port}/webhooks/voucherify"
        self._nursery = nursery
        self._settings: dict[str, object] = {
            "data_dir": self.data_dir,
            "webhook_secrets": SECRET,
            "ingress_port": self.ingress_port,
        } | settings
        self._running: list[Running] = []
        self._started = 0

    def set(self, **settings: object) -> None:
        """For all that is started from now on."""
        self._settings |= settings

    def setting(self, name: str) -> str:
        return str(self._settings[name])

    def start(self, *arguments: str, kill: Kill | None = None, **settings: object) -> Running:
        """Start a command that serves. `kill`: where it dies."""
        admin_port = free_port()
        environment = self._environment(settings | {"admin_port": admin_port})
        out = self._output(arguments[0])
        child = self._nursery.fork(arguments, environment, self.directory, out, kill)
        running = Running(child, out, admin_port)
        self._running.append(running)
        return running

    def ask(self, *arguments: str, kill: Kill | None = None) -> Answer:
        """Run a command to its end."""
        return self.ask_with({}, *arguments, kill=kill)

    def ask_with(self, settings: Mapping[str, object], *arguments: str, kill: Kill | None = None) -> Answer:
        """The same with other settings, for this once."""
        out = self._output("ask")
        child = self._nursery.fork(arguments, self._environment(settings), self.directory, out, kill)
        code = Running(child, out, 0).wait_end(90)
        return Answer(code, out.read_text(), out.with_name(f"{out.name}.err").read_text())

    def told(self, *arguments: str) -> Any:
        """The answer of a command that must succeed, read from its JSON."""
        answer = self.ask(*arguments, "--json")
        assert answer.code == 0, answer
        return answer.json

    def execute(self, *arguments: str, **settings: object) -> Answer:
        """The same as `ask`, by the installed command itself."""
        ended = subprocess.run(
            [COMMAND, *arguments],
            env=self._environment(settings),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return Answer(ended.returncode, ended.stdout, ended.stderr)

    def metrics(self) -> str:
        """Of all processes that serve."""
        return "".join(running.metrics() for running in self._running if not running.has_ended())

    def wait_idle(self, seconds: float = 60) -> None:
        answer = self.ask("status", "--wait-idle", str(seconds))
        assert answer.code == 0, (answer, self.ask("status").out, [each.err for each in self._running])

    def balances(self) -> dict[str, int]:
        """Points by customer, those with none left out, as the entries tell them."""
        points: dict[str, int] = {}
        for entry in self.told("ledger", "entries"):
            points[entry["customer_id"]] = points.get(entry["customer_id"], 0) + entry["points"]
        return {customer: sum_ for customer, sum_ in points.items() if sum_}

    def close(self) -> None:
        for running in self._running:
            running.send(signal.SIGCONT)
            running.kill()

    def _environment(self, settings: Mapping[str, object]) -> dict[str, str]:
        given = {
            f"REDEMPTIONS_{name.upper()}" if name.islower() else name: str(value)
            for name, value in (self._settings | dict(settings)).items()
            if value is not None
        }
        return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | given

    def _output(self, name: str) -> Path:
        self._started += 1
        out = self.directory / f"{self._started}-{name}"
        out.with_name(f"{out.name}.err").touch()
        return out
