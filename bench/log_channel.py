"""The cheapest effect handler there can be: what remains is the price of the machinery around it."""

from events.event import Kind, RedemptionEvent
from handlers.protocol import Attempt, Retry


class LogChannel:
    name = "log-channel"
    kinds = (Kind.SUCCEEDED, Kind.ROLLED_BACK)
    concurrency = 200
    timeout = 10.0
    retry = Retry()

    def wants(self, event: RedemptionEvent) -> bool:
        return True

    async def run(self, attempt: Attempt) -> None:
        print(attempt.key)
