"""The effect handler `notifications`: the rules an event meets, each a call."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from events.event import RedemptionEvent
from events.runtime import Runtime
from handlers.loyalty.details import payload_of
from handlers.loyalty.standing import Question, Standing, standings
from handlers.notifications.calls import Calls
from handlers.notifications.carriers import carriers_of
from handlers.notifications.conclusion import Fate, conclude
from handlers.notifications.courier import Courier, Errand
from handlers.notifications.credentials import Credentials
from handlers.notifications.policy import Policy
from handlers.notifications.rules import Rules
from handlers.notifications.together import Together
from handlers.protocol import Attempt, Deferred, Skipped
from handlers.terms import Retry
from storage.database import Database

BESIDE_CALLS = 10.0
"""Seconds of a try for everything else."""


class Notifications:
    """Runs while it is `opened`; the rest of what it is asked needs no database."""

    name = "notifications"
    after = ("loyalty",)

    def __init__(self, policy: Policy, credentials: Mapping[str, Credentials], runtime: Runtime) -> None:
        self._policy = policy
        self._runtime = runtime
        self._rules = Rules(policy.rules)
        self._credentials = credentials
        self._courier: Courier | None = None
        self.kinds = self._rules.kinds
        self.concurrency = policy.concurrency
        self.retry = policy.retry.over(Retry())
        self.timeout = BESIDE_CALLS + sum(policy.channels[rule.channel].timeout for rule in policy.rules)

    @asynccontextmanager
    async def opened(self, database: Database) -> AsyncIterator[None]:
        async def look(questions: Sequence[Question]) -> Sequence[Standing | None]:
            async with database.snapshot() as snapshot:
                return await standings(snapshot, questions)

        carriers = carriers_of(self._policy, self._credentials, self._runtime.now)
        self._courier = Courier(
            self._policy, self._rules, carriers, Calls(database), Together(look), self._runtime
        )
        try:
            yield
        finally:
            for carrier in carriers.values():
                await carrier.close()

    def wants(self, event: RedemptionEvent) -> bool:
        return self._rules.any_met(event)

    def dependency(self, event: RedemptionEvent) -> str:
        """The channel that all its calls go to; of several each call names its own."""
        return self._rules.only_channel(event) or self.name

    async def run(self, attempt: Attempt) -> Skipped | Deferred | None:
        assert self._courier is not None  # opened before any worker runs
        rules = self._rules.met(attempt.event)
        if not rules:
            return Skipped("no_rule")
        payload, alone = payload_of(attempt.event), len(rules) == 1
        channels: dict[str, list[Errand]] = defaultdict(list)
        for rule in rules:
            channels[rule.channel].append(Errand(attempt, payload, rule, alone))
        # All channels at once: one that takes its time to fail must not keep the others waiting.
        async with asyncio.TaskGroup() as tasks:
            told = [
                tasks.create_task(_fates(self._courier, errands), name=f"channel {channel}")
                for channel, errands in channels.items()
            ]
        return conclude([fate for task in told for fate in task.result()])


async def _fates(courier: Courier, errands: Sequence[Errand]) -> list[Fate]:
    """Of one channel's calls, in the file's order."""
    return [await courier.fate(errand) for errand in errands]
