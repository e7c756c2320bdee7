"""A handler with loose lips: its errors quote the customer."""

import json
from collections.abc import Collection

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from handlers.protocol import Attempt, Retry

SPILLED = "cust_spilled"
REFUSED = "cust_refused"


class Spilling:
    name = "spilling"
    kinds: Collection[Kind] = (Kind.SUCCEEDED,)
    concurrency = 4
    timeout = 20.0
    retry = Retry(attempts=2, first=0.05)

    def wants(self, event: RedemptionEvent) -> bool:
        customer = event.data.customer
        return customer is not None and customer.id in (SPILLED, REFUSED)

    async def run(self, attempt: Attempt) -> None:
        customer = json.loads(attempt.body)["customer"]
        if customer["id"] == REFUSED:
            raise Refused("no_account", f"{customer['email']} has no account")
        raise ValueError(f"<{customer['email']}> is not known here\n{attempt.body!r}")
