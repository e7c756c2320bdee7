"""An effect handler that calls the outside world: a file that remembers every call."""

import os
from collections.abc import Collection
from pathlib import Path

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from handlers.protocol import Attempt, Retry

UNWANTED = "cust_whom_nobody_calls"
FLAKY = "cust_reached_at_the_second_try"


class Outside:
    """Writes the idempotency key of each call to the file that OUTSIDE_CALLS names."""

    name = "outside"
    kinds: Collection[Kind] = (Kind.SUCCEEDED, Kind.ROLLED_BACK)
    concurrency = 4
    timeout = 20.0
    retry = Retry(attempts=4, first=0.05)

    def wants(self, event: RedemptionEvent) -> bool:
        return True

    async def run(self, attempt: Attempt) -> None:
        customer = attempt.event.data.customer
        if customer and customer.id == FLAKY and attempt.number == 1:
            raise ConnectionError("nobody answers")
        _remember(attempt.key)
        if customer and customer.id == UNWANTED:
            raise Refused("not_wanted", "this customer is not to be called")


class Hurried(Outside):
    """The same for thousands of calls."""

    concurrency = 200


def _remember(key: str) -> None:
    with Path(os.environ["OUTSIDE_CALLS"]).open("a") as calls:
        calls.write(f"{key}\n")
