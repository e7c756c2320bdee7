"""The effect handler: whatever comes twice or in disorder, the CRM shows each customer's last redemption."""

import os
import time
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

import httpx

from crm_sync.settings import Settings
from events.event import Kind, RedemptionEvent
from events.failures import Unavailable
from handlers.http import failure_of_answer, failure_of_error
from handlers.protocol import Attempt, Skipped
from handlers.terms import Retry

RACES = 5
"""So often another writer may be quicker before the try is given back."""


class LastRedemption(NamedTuple):
    """What the CRM keeps of a customer. The greater one is the later one, so that order does not matter: by
    time, then by id; and of one redemption, `rolled_back` is after `redeemed`."""

    at: datetime
    redemption: str
    status: str

    def shown(self) -> dict[str, str]:
        return {"at": self.at.isoformat(), "redemption": self.redemption, "status": self.status}

    @classmethod
    def read(cls, shown: dict[str, str]) -> "LastRedemption":
        return cls(datetime.fromisoformat(shown["at"]), shown["redemption"], shown["status"])


STATUS = {Kind.SUCCEEDED: "redeemed", Kind.ROLLED_BACK: "rolled_back"}


class CrmSync:
    name = "crm-sync"
    kinds = frozenset(STATUS)
    concurrency = 10
    timeout = 15.0
    retry = Retry(attempts=10, first=1.0, factor=2.0, longest=1800.0)

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings.of(os.environ)
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        self._http = httpx.AsyncClient(base_url=settings.url, headers=headers, timeout=5.0)

    def wants(self, event: RedemptionEvent) -> bool:
        """Called while the batch's transaction is open: it only looks at the event."""
        return customer_of(event) is not None

    async def run(self, attempt: Attempt) -> Skipped | None:
        customer, last = customer_of(attempt.event), last_redemption(attempt.event)
        if customer is None or last is None:
            return Skipped("no_customer" if customer is None else "no_date")
        path = f"/customers/{quote(customer, safe='')}/last-redemption"
        for _ in range(RACES):
            known = await self._call("GET", path)
            if known.status_code == 200 and LastRedemption.read(known.json()) >= last:
                return None  # a later one, or this very one: told by a try whose answer was lost
            # Only if nobody has changed it since we looked.
            unchanged = {"If-None-Match": "*"}
            if known.status_code == 200:
                unchanged = {"If-Match": known.headers["ETag"]}
            told = await self._call("PUT", path, last, {"Idempotency-Key": attempt.key} | unchanged)
            if told.status_code != 412:
                return None
        raise Unavailable("crm_contended", "others kept changing this customer in the CRM")

    async def _call(
        self,
        method: str,
        path: str,
        last: LastRedemption | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Raises Refused or Unavailable, but for 404 (nothing known) and 412 (somebody was quicker)."""
        try:
            answer = await self._http.request(
                method, path, json=last.shown() if last else None, headers=headers
            )
        except (httpx.HTTPError, OSError) as error:
            raise failure_of_error(error) from error
        failure = failure_of_answer(answer.status_code, answer.headers, time.time())
        if failure and answer.status_code not in (404, 412):
            raise failure
        return answer


def customer_of(event: RedemptionEvent) -> str | None:
    """Values of a payload are whatever the sender put there: look before you use them."""
    id = event.data.customer.id if event.data.customer else None
    return id if isinstance(id, str) and id else None


def last_redemption(event: RedemptionEvent) -> LastRedemption | None:
    date = event.data.redemption.date if event.data.redemption else None
    try:
        at = datetime.fromisoformat(date) if isinstance(date, str) else None
    except ValueError:
        return None
    if at is None or at.tzinfo is None:
        return None
    return LastRedemption(at, event.redemption_id, STATUS[event.kind])
