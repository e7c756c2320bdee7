"""A server that lists redemptions as Voucherify documents it, with whatever trouble a test asks for."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

APP_ID, APP_TOKEN = "app-of-the-tests", "token-of-the-tests"
START = datetime(2026, 3, 1, tzinfo=UTC)
Trouble = Callable[["_Door"], None]


def at(seconds: float = 0) -> str:
    """A moment after START, as Voucherify writes it."""
    moment = START + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def a_redemption(
    id: str = "r_1", seconds: float = 0, customer: str | None = "cust_1", **more: Any
) -> dict[str, Any]:
    """A row as the list shows it: a stub of the voucher without its type, and no status."""
    order = {
        "id": f"ord_{id}",
        "source_id": None,
        "status": "PAID",
        "amount": 12_000,
        "discount_amount": 2_000,
        "total_discount_amount": 2_000,
        "total_amount": 10_000,
        "items": [],
        "metadata": {},
        "customer_id": customer,
        "object": "order",
    }
    return {
        "id": id,
        "object": "redemption",
        "date": at(seconds),
        "customer_id": customer,
        "tracking_id": "track_a+b/c=",
        "metadata": {},
        "result": "SUCCESS",
        "order": order,
        "channel": {"channel_id": "user_1", "channel_type": "USER"},
        "customer": None if customer is None else {"id": customer, "object": "customer"},
        "related_object_type": "voucher",
        "related_object_id": "v_1",
        "voucher": {"id": "v_1", "code": "SPRING", "campaign": "Spring", "campaign_id": "camp_1"},
    } | more


def a_rollback(original: str = "r_1", seconds: float = 0, **more: Any) -> dict[str, Any]:
    id = more.pop("id", f"r{original}")
    row = a_redemption(original, seconds, **more)
    return row | {"id": id, "object": "redemption_rollback", "redemption": original, "reason": "mistake"}


def a_failure(id: str = "rf_1", seconds: float = 0) -> dict[str, Any]:
    return a_redemption(id, seconds, result="FAILURE", failure_code="quantity_exceeded", order=None)


def status(code: int, **headers: str) -> Trouble:
    """Answer with this status; `retry_after` is sent as `retry-after`."""

    def answer(door: "_Door") -> None:
        door.answer(code, b'{"code": 1}', {name.replace("_", "-"): value for name, value in headers.items()})

    return answer


def body(content: bytes) -> Trouble:
    return lambda door: door.answer(200, content, {})


def reset(door: "_Door") -> None:
    """Break the connection in the middle of an answer."""
    door.send_response(200)
    door.send_header("content-length", "1000")
    door.end_headers()
    door.wfile.write(b'{"redemptions": [')
    door.wfile.flush()
    door.connection.shutdown(socket.SHUT_RDWR)
    door.close_connection = True


class Voucherify:
    """The rows there are, and what was asked. Its clock is the test's business: nothing here waits."""

    def __init__(self) -> None:
        self.url = ""
        self.queries: list[dict[str, str]] = []
        self.troubles: list[Trouble | None] = []
        """What happens to the requests, in turn; None: nothing."""
        self.before_answer: Callable[[dict[str, str]], None] = lambda query: None
        self.headers: Callable[[], dict[str, str]] = dict
        self._rows: list[tuple[str, str | None, bytes]] = []
        self._lock = Lock()

    def add(self, *rows: dict[str, Any], created_at: str | None = None) -> None:
        for row in rows:
            self._rows.append((created_at or row["date"], row.get("customer_id"), json.dumps(row).encode()))
        self._rows.sort(key=lambda row: row[0])

    def add_raw(self, created_at: str, row: bytes) -> None:
        self._rows.append((created_at, None, row))

    def clear(self) -> None:
        self._rows.clear()

    def page(self, query: dict[str, str]) -> bytes:
        after, before = query.get("created_at[after]", ""), query.get("created_at[before]", "~")
        customer = query.get("customer")
        rows = [
            row
            for created, whose, row in self._rows
            if after < created < before and customer in (None, whose)
        ]
        if query.get("order") != "created_at":
            rows.reverse()
        limit, page = int(query.get("limit", "10")), int(query.get("page", "1"))
        shown = b", ".join(rows[(page - 1) * limit : page * limit])
        total = str(len(rows)).encode()
        head = b'{"object": "list", "data_ref": "redemptions", "redemptions": ['
        return head + shown + b'], "total": ' + total + b"}"

    def handle(self, door: "_Door") -> None:
        url = urlsplit(door.path)
        query = dict(parse_qsl(url.query))
        with self._lock:
            self.queries.append(query)
            trouble = self.troubles.pop(0) if self.troubles else None
            self.before_answer(query)
        credentials = (door.headers["x-app-id"], door.headers["x-app-token"])
        if trouble is not None:
            trouble(door)
        elif credentials != (APP_ID, APP_TOKEN):
            door.answer(401, b"{}", {})
        elif url.path != "/v1/redemptions":
            door.answer(404, b"{}", {})
        elif not (1 <= int(query.get("limit", "10")) <= 100 and 1 <= int(query.get("page", "1")) <= 99):
            door.answer(400, b"{}", {})
        else:
            door.answer(200, self.page(query), self.headers())


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: the second would wait for the first one's acknowledgement
    server: "_Server"

    def do_GET(self) -> None:
        self.server.voucherify.handle(self)

    def answer(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {"content-length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, voucherify: Voucherify) -> None:
        self.voucherify = voucherify
        super().__init__(("127.0.0.1", 0), _Door)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed, or a connection that a test broke


@contextmanager
def served() -> Iterator[Voucherify]:
    voucherify = Voucherify()
    with _Server(voucherify) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        voucherify.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield voucherify
        finally:
            server.shutdown()
            thread.join()
