"""A CRM on a port of this machine: conditional writes, idempotency keys, and bad days on request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeCrm(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.customers: dict[str, dict[str, str]] = {}
        """By path: what it knows of each customer."""
        self.answers: list[tuple[int, dict[str, str]]] = []
        """Status and headers for the next requests, in place of what it would do."""
        self.keys: list[str] = []
        """The idempotency key of each write that came."""
        self.lock = threading.Lock()
        self._versions: dict[str, int] = {}
        self._done: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is no news."""

    def etag(self, path: str) -> str:
        return f'"{self._versions.get(path, 0)}"'

    def write(self, path: str, headers: Any, body: dict[str, str]) -> int:
        """What a PUT comes to. A key that was used answers as it did then."""
        self.keys.append(headers["Idempotency-Key"])
        if self.keys[-1] in self._done:
            return self._done[self.keys[-1]]
        is_known = path in self.customers
        expected = headers["If-Match"]
        if (headers["If-None-Match"] == "*" and is_known) or (expected and expected != self.etag(path)):
            return 412
        self.customers[path] = body
        self._versions[path] = self._versions.get(path, 0) + 1
        self._done[self.keys[-1]] = 200 if is_known else 201
        return self._done[self.keys[-1]]


class _Request(BaseHTTPRequestHandler):
    server: FakeCrm

    def do_GET(self) -> None:
        with self.server.lock:
            if not self._answered():
                known = self.server.customers.get(self.path)
                self._answer(200 if known else 404, {"ETag": self.server.etag(self.path)}, known)

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            if not self._answered():
                self._answer(self.server.write(self.path, self.headers, body), {})

    def _answered(self) -> bool:
        if self.server.answers:
            self._answer(*self.server.answers.pop(0))
            return True
        return False

    def _answer(self, status: int, headers: dict[str, str], body: object = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the terminal."""


@contextmanager
def fake_crm() -> Iterator[FakeCrm]:
    with FakeCrm() as crm:
        serving = threading.Thread(target=crm.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield crm
        finally:
            crm.shutdown()
            serving.join()
