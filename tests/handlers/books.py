"""The ledger under test with its database, and questions to it."""

from collections.abc import Sequence

from events.event import RedemptionEvent
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.policy import STANDARD
from handlers.loyalty.report import Mark, ReportedEntry, balance, entries, marks
from handlers.loyalty.verification import Finding, verify
from handlers.protocol import Verdicts
from storage.database import Database
from tests.handlers.deliveries import TENANT


class Books:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.policy = STANDARD
        self.notes: list[str] = []
        self.oddities: list[str] = []
        self._tenants = 0
        self._ledger = Loyalty(self.policy)
        self._prepares = False

    def another_tenant(self) -> str:
        """A tenant that has no history yet: cheaper than another database."""
        self._tenants += 1
        return f"tenant-{self._tenants}"

    async def apply(self, *events: RedemptionEvent) -> Verdicts:
        """One batch, in one transaction. Every other one is prepared, as a busy worker does."""
        async with self.database.transaction() as transaction:
            verdicts = await (await self._prepared(events)).apply(events, transaction)
            self.notes += [note.text for told in transaction.notes for note in told()]
            self.oddities += [what for _, what in transaction.oddities]
        return verdicts

    async def _prepared(self, events: Sequence[RedemptionEvent]) -> Loyalty:
        if self._ledger.policy is not self.policy:
            self._ledger = Loyalty(self.policy)
        self._prepares = not self._prepares
        if self._prepares:
            await self._ledger.prepare(events)
        return self._ledger

    async def points(self, customer: str = "anna", tenant: str = TENANT) -> int:
        async with self.database.snapshot() as transaction:
            return await balance(transaction, tenant, customer)

    async def balances_of(self, tenant: str = TENANT) -> dict[str, int]:
        """All that are not zero, by customer."""
        async with self.database.snapshot() as transaction:
            rows = await transaction.run(
                "SELECT customer_id, points FROM balances WHERE points <> 0 AND tenant = :tenant",
                tenant=transaction.names.find(tenant),
            )
            return {row.customer_id: row.points for row in rows}

    async def entries(self, customer: str | None = None, order: str | None = None) -> list[ReportedEntry]:
        async with self.database.snapshot() as transaction:
            return [entry async for entry in entries(transaction, TENANT, customer, order)]

    async def marks(self, redemption: str) -> list[Mark]:
        async with self.database.snapshot() as transaction:
            return await marks(transaction, TENANT, redemption)

    async def findings(self) -> list[Finding]:
        async with self.database.snapshot() as transaction:
            return [finding async for finding in verify(transaction, self.policy)]

    async def contents(self) -> list[Sequence[object]]:
        """Every row of the ledger, to see that nothing was written."""
        async with self.database.snapshot() as transaction:
            return [
                tuple(row)
                for table in ("facts", "orders", "entries", "balances")
                for row in await transaction.run(f"SELECT * FROM {table} ORDER BY 1, 2")  # noqa: S608
            ]
