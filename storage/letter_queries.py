"""Finding dead letters for operators."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from sqlalchemy import Row

from storage.database import Transaction
from storage.schema import LetterState

LISTED = (
    "id, state, reason, handler, redemption_id, customer_id, error, attempts, replays, topic, partition, "
    '"offset", first_seen, last_seen'
)


class LetterFilter(NamedTuple):
    """Which letters; None: any. `state` None: all states. Times are milliseconds."""

    state: LetterState | None = LetterState.OPEN
    tenant: str | None = None
    reason: str | None = None
    handler: str | None = None
    redemption_id: str | None = None
    customer_id: str | None = None
    since: int | None = None
    until: int | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """A WHERE clause and its parameters: columns come from here, values never become SQL."""
        conditions = [
            f"{column} = :{column}"
            for column in ("state", "tenant", "reason", "handler", "redemption_id", "customer_id")
            if getattr(self, column) is not None
        ]
        conditions += ["last_seen >= :since"] if self.since is not None else []
        conditions += ["first_seen < :until"] if self.until is not None else []
        parameters = {name: value for name, value in self._asdict().items() if value is not None}
        return " AND ".join(conditions) or "true", parameters


async def find_letters(
    transaction: Transaction, wanted: LetterFilter, limit: int | None = None
) -> AsyncIterator[Row[Any]]:
    """Letters (columns LISTED), the oldest first."""
    where, parameters = wanted.where()
    most = f"LIMIT {int(limit)}" if limit is not None else ""
    sql = f"SELECT {LISTED} FROM dead_letters WHERE {where} ORDER BY first_seen, id {most}"
    async for row in transaction.stream(sql, **parameters):
        yield row


async def show_letter(transaction: Transaction, id_: str) -> Row[Any] | None:
    """One letter, every column."""
    rows = await transaction.run("SELECT * FROM dead_letters WHERE id = :id", id=id_)
    return rows[0] if rows else None


async def count_letters(transaction: Transaction) -> dict[str, int]:
    """How many letters there are in each state."""
    rows = await transaction.run("SELECT state, count(*) AS letters FROM dead_letters GROUP BY state")
    found = {row.state: row.letters for row in rows}
    return {state.name.lower(): found.get(state, 0) for state in LetterState}


async def count_unread(transaction: Transaction) -> int:
    """How many open letters are of records that no handler could run for."""
    rows = await transaction.run(
        f"SELECT count(*) AS letters FROM dead_letters WHERE state = {LetterState.OPEN} AND handler IS NULL"
    )
    return int(rows[0].letters)
