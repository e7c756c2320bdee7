"""Deliveries as Voucherify sends them, with what they must come to."""

import json
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, NamedTuple

import httpx

from events.signature import sign
from tests.end_to_end.processes import SECRET
from tests.events.payloads import CUSTOMER, ID, a_failure, a_rollback, a_success, body, distribution, project

ORDER = "ord_p6B1A0y805yUQQaCw4bC6Fbk"


class Traffic(NamedTuple):
    bodies: list[bytes]
    balances: dict[str, int]
    """Points by customer; those with none are left out."""
    malformed: int
    """How many of the bodies nobody can read."""


def sale(redemption: str, customer: str, total: int = 10349, **order: Any) -> dict[str, Any]:
    """The documented example as another redemption, order and customer; `order`: changes of its order."""
    text = json.dumps(a_success()).replace(ID, redemption).replace(CUSTOMER, customer)
    data: dict[str, Any] = json.loads(text.replace(ORDER, f"ord_{redemption}"))
    for snapshot in (data["order"], data["redemption"]["order"]):
        snapshot |= {"total_amount": total} | order
    return data


def undone(redemption: str, customer: str) -> dict[str, Any]:
    """The documented rollback of that redemption."""
    text = json.dumps(a_rollback()).replace(ID, redemption).replace(CUSTOMER, customer)
    data: dict[str, Any] = json.loads(text.replace(ORDER, f"ord_{redemption}"))
    return data


def in_all_shapes(data: dict[str, Any], happened: str = "succeeded") -> list[bytes]:
    return [
        body(data),
        body(project(data, f"redemption.{happened}")),
        body(distribution(data, f"customer.redemption.{happened}")),
    ]


def stack(parent: str, customer: str) -> tuple[list[dict[str, Any]], int]:
    """A parent with two children on one order of 150 points, and those points."""
    order = {"id": f"ord_{parent}", "total_discount_amount": 2000, "amount": 17000}
    whole = sale(parent, customer, 15000, **order)
    whole["voucher"] = whole["redemption"]["voucher"] = None
    children = []
    for number, discount in ((1, 1000), (2, 2000)):
        child = sale(
            f"{parent}child{number}",
            customer,
            17000 - discount,
            **(order | {"total_discount_amount": discount}),
        )
        child["redemption"]["redemption"] = parent
        children.append(child)
    return [whole, *children], 150


def traffic(count: int, seed: int, name: str = "t") -> Traffic:
    """Deliveries of `count` happenings of all sorts, many of them more than once, in a random order."""
    chance = random.Random(seed)
    bodies: list[bytes] = []
    balances: dict[str, int] = {}
    malformed = 0
    for number in range(count):
        redemption, customer = f"r_{name}{seed}x{number:06}", f"cust_{name}{number % 17}"
        earned = 0
        match number % 8:
            case 0:
                bodies += f'{{"torn": {number}'.encode(), body(a_failure(id=f"rf_{name}{number}"))
                malformed += 1
            case 1 | 2:
                success = in_all_shapes(sale(redemption, customer))
                bodies += success + in_all_shapes(undone(redemption, customer), "rollback.succeeded")
            case 3:
                deliveries, earned = stack(redemption, customer)
                bodies += [each for data in deliveries for each in in_all_shapes(data)[:2]]
            case _:
                total = chance.randrange(100, 100_000)
                earned = total // 100
                bodies += chance.sample(
                    in_all_shapes(sale(redemption, customer, total)), chance.randint(1, 3)
                )
        if earned:
            balances[customer] = balances.get(customer, 0) + earned
    chance.shuffle(bodies)
    return Traffic(bodies, balances, malformed)


class Sender:
    """Sends as Voucherify does: again, until it is told 202. Remembers every answer."""

    def __init__(self, url: str, at_once: int = 8) -> None:
        self._url = url
        self._at_once = at_once
        self.answers: list[int] = []
        """The status of each; 0 where there was no answer."""
        self.without_retry_after = 0
        self.accepted = 0

    def send(self, bodies: Iterable[bytes], give_up: Event | None = None) -> None:
        """Return when all are accepted, or soon after `give_up`."""
        queue, give_up = iter(list(bodies)), give_up or Event()
        with _client() as client, ThreadPoolExecutor(self._at_once) as threads:
            for done in [threads.submit(self._drain, client, queue, give_up) for _ in range(self._at_once)]:
                done.result()

    def send_once(self, content: bytes) -> None:
        """One try."""
        with _client() as client:
            self._accepted(client, content)

    def _drain(self, client: httpx.Client, queue: Iterator[bytes], give_up: Event) -> None:
        for content in queue:
            while not give_up.is_set() and not self._accepted(client, content):
                give_up.wait(0.1)

    def _accepted(self, client: httpx.Client, content: bytes) -> bool:
        headers = {"x-voucherify-signature": sign(content, SECRET), "content-type": "application/json"}
        try:
            answer = client.post(self._url, content=content, headers=headers)
        except httpx.TransportError:
            self.answers.append(0)
            return False
        self.answers.append(answer.status_code)
        self.without_retry_after += answer.status_code == 503 and "retry-after" not in answer.headers
        self.accepted += answer.status_code == 202
        return answer.status_code == 202


def _client() -> httpx.Client:
    return httpx.Client(timeout=10, trust_env=False, verify=False)  # nothing here is encrypted
