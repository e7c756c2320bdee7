"""Deliveries at a fixed rate, or as many at once as there are connections; every answer is remembered."""

import asyncio
import hashlib
import hmac
import itertools
import json
from collections import Counter
from collections.abc import Iterable

from tests.events.payloads import ID, a_success

PATH = "/webhooks/voucherify"
OLDEST_IDLE = 60.0
"""Seconds: the server closes a connection after 75, and a request could cross with that."""
IMPATIENCE = 1.0
"""Seconds a refused sender of the crowd waits, less than it is told to. Senders that never waited would keep
this process so busy that its clock could not be believed."""
BROKEN = 0
"""Stands for the status of a request that got no answer."""


class Answers:
    """What became of the requests of one phase."""

    def __init__(self) -> None:
        self.statuses = Counter[int]()
        self.accepted: list[int] = []
        self.without_retry_after = 0
        self.times: list[tuple[float, float]] = []
        """(when it was due, seconds until it was answered), by the loop's clock."""

    def p99(self, storms: Iterable[tuple[float, float]] = ()) -> float:
        """Seconds; those left out that were due in a storm."""
        storms = list(storms)
        fair = sorted(
            taken for due, taken in self.times if not any(begin <= due <= end for begin, end in storms)
        )
        return fair[int(len(fair) * 0.99)] if fair else 0.0

    @property
    def slowest(self) -> float:
        return max((taken for _, taken in self.times), default=0.0)


class Load:
    """Numbers every delivery, so that each can be found again in the log."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        self._secret = secret.encode()
        self._before, _, self._after = json.dumps(a_success()).partition(ID)
        self._numbers = itertools.count()
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
        """So many always at the door: whoever has an answer sends the next, soon after a refusal."""
        answers, loop = Answers(), asyncio.get_running_loop()
        end = loop.time() + seconds

        async def go_on() -> None:
            while (now := loop.time()) < end:
                if await self._deliver(answers, now) == 503:
                    await asyncio.sleep(IMPATIENCE)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(go_on())
        return answers

    def close(self) -> None:
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _deliver(self, answers: Answers, due: float) -> int:
        number, loop = next(self._numbers), asyncio.get_running_loop()
        connection = None
        try:
            connection = await self._connection()
            status, retry_after = await connection.ask(self._request(number))
        except (OSError, asyncio.IncompleteReadError):
            status, retry_after = BROKEN, True
            if connection:
                connection.close()
        else:
            self._idle.append((loop.time(), connection))
        answers.statuses[status] += 1
        answers.times.append((due, loop.time() - due))
        answers.without_retry_after += status == 503 and not retry_after
        if status == 202:
            answers.accepted.append(number)
        return status

    async def _connection(self) -> "_Connection":
        """The one used last, so that no more are open than are needed."""
        while self._idle:
            since, connection = self._idle.pop()
            if asyncio.get_running_loop().time() - since < OLDEST_IDLE:
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


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def opened(cls, port: int) -> "_Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, bool]:
        """The status, and whether the answer says when to come again."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        await self._reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        return int(head.split()[1]), b"\r\nretry-after: " in head

    def close(self) -> None:
        self._writer.transport.abort()
