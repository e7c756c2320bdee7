"""A notifications handler on a real database, asked as a worker asks it, with a clock that a test moves."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.event import RedemptionEvent
from events.runtime import SystemRuntime
from handlers.loyalty.handler import Loyalty
from handlers.notifications.credentials import credentials_of
from handlers.notifications.handler import Notifications
from handlers.notifications.policy_file import parse_policy
from handlers.protocol import Attempt, Deferred, Skipped
from storage.connect import connect
from storage.database import Database
from storage.schema import metadata

RULE = '\n[[rules]]\nname = "redeemed"\non = "succeeded"\nchannel = "crm"\n'
UNDONE = '\n[[rules]]\nname = "undone"\non = "rolled_back"\nchannel = "crm"\n'


def webhook(url: str, more: str = "") -> str:
    return f'[channels.crm]\ntype = "webhook"\nurl = "{url}"\n{more}\n'


class Clock(SystemRuntime):
    """Set ahead by a test; SQLite's clock is the same one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class Desk:
    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock

    @asynccontextmanager
    async def open(self, text: str) -> AsyncIterator["Desk"]:
        """With this notifications file."""
        policy = parse_policy(text)
        self.handler = Notifications(policy, credentials_of(policy, os.environ), self.clock)
        async with self.handler.opened(self.database):
            yield self

    async def post(self, *events: RedemptionEvent) -> None:
        """Let the ledger apply them."""
        async with self.database.transaction() as transaction:
            await Loyalty().apply(events, transaction)

    async def tell(
        self, event: RedemptionEvent, number: int = 1, *, generation: int = 0, since: float | None = None
    ) -> Skipped | Deferred | None:
        assert self.handler.wants(event)
        return await self.handler.run(Attempt(event, event.body, number, "unused", generation, since))

    async def states(self) -> dict[tuple[str, str], int]:
        """Of the calls in the table, by subject and call."""
        async with self.database.snapshot() as snapshot:
            rows = await snapshot.run("SELECT subject, call, state FROM notification_calls")
            return {(row.subject, row.call): row.state for row in rows}


@asynccontextmanager
async def desk_at(url: str) -> AsyncIterator[Desk]:
    clock = Clock()
    database = connect(url, clock)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield Desk(database, clock)
    await database.close()
