"""Deliveries at a fixed rate, or as many at once as there are connections; every answer is remembered."""

import asyncio
import hashlib
import hmac
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.events.payloads import ID, a_success

PATH = "/webhooks/voucherify"
OLDEST_IDLE = 60.0
"""Seconds: the server closes a connection after 75, and a request could cross with that."""
BROKEN = 0
"""Stands for the status of a request that got no answer."""


Storm = tuple[float, float]
"""From when to when the broker was away or only just back."""


def _is_fair(due: float, storms: Sequence[Storm]) -> bool:
    return not any(begin <= due <= end for begin, end in storms)


class Answers:
    """What became of the requests of one phase."""

    def __init__(self) -> None:
        self.statuses = Counter[int]()
        self.accepted: list[int] = []
        self.without_retry_after = 0
        self.times: list[tuple[float, float]] = []
        """(when it was due, seconds until it was answered), by the loop's clock."""
        self.accepted_due: list[float] = []
        """When those were due that got 202."""

    def p99(self, storms: Sequence[Storm] = ()) -> float:
        """Seconds; those left out that were due in a storm."""
        fair = sorted(taken for due, taken in self.times if _is_fair(due, storms))
        return fair[int(len(fair) * 0.99)] if fair else 0.0

    def share_accepted(self, storms: Sequence[Storm]) -> float:
        """Of those that were due in no storm."""
        due = sum(_is_fair(each, storms) for each, _ in self.times)
        return sum(_is_fair(each, storms) for each in self.accepted_due) / due if due else 0.0

    @property
    def slowest(self) -> float:
        return max((taken for _, taken in self.times), default=0.0)


class Load:
    """Numbers every delivery, so that each can be found again in the log."""

    def __init__(self, port: int, secret: str, first: int = 0) -> None:
        """`first`: the number of the first delivery."""
        self._port = port
        self._secret = secret.encode()
        self._before, _, self._after = json.dumps(a_success()).partition(ID)
        self._numbers = itertools.count(first)
        self._idle: list[tuple[float, _Connection]] = []

    async def at_rate(self, rate: float, seconds: float) -> Answers:
        """So many a second, whatever becomes of them. A request's time counts from when it was due."""
        answers, loop = Answers(), asyncio.get_running_loop()
        begin = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for place in range(max(1, round(rate * seconds))):
                due = begin + place / rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                tasks.create_task(self._deliver(answers, due))
        return answers

    async def at_once(self, count: int, seconds: float) -> Answers:
        """So many always at the door: whoever has an answer sends the next, whatever the answer says."""
        answers, loop = Answers(), asyncio.get_running_loop()
        end = loop.time() + seconds

        async def go_on() -> None:
            while (now := loop.time()) < end:
                await self._deliver(answers, now)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(go_on())
        return answers

    def close(self) -> None:
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _deliver(self, answers: Answers, due: float) -> None:
        number, loop = next(self._numbers), asyncio.get_running_loop()
        connection = None
        try:
            connection = await self._connection()
            answer = await connection.ask(self._request(number))
        except OSError:
            answer = _Answer(BROKEN, True, loop.time())
            if connection:
                connection.close()
        else:
            self._idle.append((loop.time(), connection))
        answers.statuses[answer.status] += 1
        answers.times.append((due, answer.arrived - due))
        answers.without_retry_after += answer.status == 503 and not answer.retry_after
        if answer.status == 202:
            answers.accepted.append(number)
            answers.accepted_due.append(due)

    async def _connection(self) -> "_Connection":
        """The one used last, so that no more are open than are needed."""
        while self._idle:
            since, connection = self._idle.pop()
            if asyncio.get_running_loop().time() - since < OLDEST_IDLE and connection.is_open:
                return connection
            connection.close()
        return await _Connection.opened(self._port)

    def _request(self, number: int) -> bytes:
        body = f"{self._before}r_soak{number:09}{self._after}".encode()
        signature = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: soak\r\nx-voucherify-signature: {signature}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class _Answer(NamedTuple):
    status: int
    retry_after: bool
    """Whether it says when to come again."""
    arrived: float


class _Connection(asyncio.Protocol):
    """Does as little as it can for an answer: this process must not be the one that is too slow."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[_Answer] | None = None
        self._received = b""

    @classmethod
    async def opened(cls, port: int) -> "_Connection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    async def ask(self, request: bytes) -> _Answer:
        """Raises OSError when the connection ends without an answer."""
        self._answer, self._received = self._loop.create_future(), b""
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.lower().partition(b"\r\n\r\n")
        if blank and len(body) >= int(head.partition(b"content-length:")[2].split(b"\r\n")[0]):
            self._settle(_Answer(int(head.split()[1]), b"\r\nretry-after: " in head, self._loop.time()))

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle(exc if isinstance(exc, OSError) else ConnectionResetError("closed without an answer"))

    def _settle(self, outcome: "_Answer | OSError") -> None:
        if self._answer is None or self._answer.done():
            return
        if isinstance(outcome, _Answer):
            self._answer.set_result(outcome)
        else:
            self._answer.set_exception(outcome)
