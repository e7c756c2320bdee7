"""Posts deliveries as Voucherify does, faster: signed, in parallel, and again until they are accepted."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle

import httpx

from events.signature import sign

ACCEPTED = 202
LATER = 503
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
TIMEOUT_SECONDS = 10.0
"""What Voucherify waits for an answer."""


class Sending:
    """One load on its way. Remembers what was accepted and how often each delivery was tried."""

    def __init__(
        self, urls: Sequence[str], secret: str, *, rate: float, at_once: int = 32, patience: float = 60.0
    ) -> None:
        """`rate`: first tries a second; `patience`: seconds without any 202 after which all is given up."""
        self._urls = cycle(urls)
        self._secret = secret
        self._rate = rate
        self._at_once = at_once
        self._patience = patience
        self._heard = 0.0
        """When something was accepted last, by the loop's clock."""
        self.tries = Counter[int]()
        """Requests that may have reached the other side, by the delivery's place."""
        self.answers = Counter[int]()
        """By status; 0: no answer."""
        self.accepted: set[int] = set()
        """Places of the deliveries that got 202."""

    async def send(self, bodies: Iterable[bytes], stop: asyncio.Event | None = None) -> None:
        """Return when each is accepted, refused for good or given up; after `stop`, begin no more."""
        stop = stop or asyncio.Event()
        # No proxies of the environment: what is sent here goes to this machine or to one of ours.
        limits = httpx.Limits(max_connections=self._at_once, keepalive_expiry=2.0)
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, limits=limits) as client,
            asyncio.TaskGroup() as tasks,
        ):
            queue = enumerate(bodies)
            began = self._heard = asyncio.get_running_loop().time()
            for _ in range(self._at_once):
                tasks.create_task(self._drain(client, queue, began, stop))

    async def _drain(
        self, client: httpx.AsyncClient, queue: Iterator[tuple[int, bytes]], began: float, stop: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        for place, body in queue:
            await asyncio.sleep(max(0.0, began + place / self._rate - loop.time()))
            if stop.is_set():
                return
            if await self._insist(client, place, body):
                self.accepted.add(place)
                self._heard = loop.time()

    async def _insist(self, client: httpx.AsyncClient, place: int, body: bytes) -> bool:
        loop = asyncio.get_running_loop()
        headers = {"x-voucherify-signature": sign(body, self._secret), "content-type": "application/json"}
        pause = FIRST_PAUSE
        while (answer := await self._try(client, place, body, headers)) in (0, LATER):
            if loop.time() - self._heard >= self._patience:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return answer == ACCEPTED

    async def _try(self, client: httpx.AsyncClient, place: int, body: bytes, headers: dict[str, str]) -> int:
        """The status; 0 when there was no answer."""
        self.tries[place] += 1
        try:
            status = (await client.post(next(self._urls), content=body, headers=headers)).status_code
        except httpx.TransportError:
            status = 0
        self.answers[status] += 1
        return status
