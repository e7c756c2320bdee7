"""A shell for the commands: no settings but a test's own, an empty directory, an ingress that takes notes."""

import logging
import os
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest
import structlog

from cli.main import run

# Fixtures: processes, and a site of theirs to ask about.
from tests.cli.filled import filled as filled
from tests.end_to_end.conftest import make_site as make_site
from tests.end_to_end.conftest import nursery as nursery
from tests.end_to_end.conftest import own_postgres as own_postgres
from tests.end_to_end.conftest import site as site


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Shell = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("REDEMPTIONS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    # A command sets up the logs of its process: here that is the process of all the other tests.
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    def call(*arguments: str) -> Ended:
        code = run(arguments)
        return Ended(code, *capsys.readouterr())

    return call


class Request(NamedTuple):
    path: str
    signature: str | None
    body: bytes


class Ingress(NamedTuple):
    url: str
    port: int
    requests: list[Request]
    answers: list[int]
    """Statuses to answer with, in turn; then 202."""


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    requests: list[Request] = []
    answers: list[int] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            requests.append(Request(self.path, self.headers["x-voucherify-signature"], body))
            self.send_response(answers.pop(0) if answers else 202)
            self.end_headers()
            self.wfile.write(b'{"status":"accepted"}\x1b')

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        port = server.server_address[1]
        yield Ingress(f"http://127.0.0.1:{port}/webhooks/voucherify", port, requests, answers)
        server.shutdown()
        thread.join()
