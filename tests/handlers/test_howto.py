"""What docs/handlers.md shows works as it stands there."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "handlers.md"


@contextmanager
def fake_warehouse() -> Iterator[SimpleNamespace]:
    stock: dict[str, bytes] = {}

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            stock[self.headers["Idempotency-Key"]] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", stock=stock)
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    names: dict[str, Any] = {"fake_warehouse": fake_warehouse}
    for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, names)
    return names


async def test_the_transactional_handler(shown: dict[str, Any]) -> None:
    await shown["test_orders_are_counted_once"]()


async def test_the_effect_handler(shown: dict[str, Any]) -> None:
    await shown["test_the_warehouse_is_told_once"]()
