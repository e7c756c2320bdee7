"""Looking at effects for operators."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from storage.database import Transaction
from storage.schema import State


async def effects_of(transaction: Transaction, tenant: int, redemption_id: str) -> Sequence[Row[Any]]:
    """The rows (handler, kind, state, attempts, due_at, last_error) of a redemption's effects."""
    return await transaction.run(
        "SELECT handler, kind, state, attempts, due_at, last_error FROM effects "
        "WHERE tenant = :tenant AND redemption_id = :redemption_id ORDER BY handler, kind",
        tenant=tenant,
        redemption_id=redemption_id,
    )


async def count_effects(transaction: Transaction) -> dict[str, int]:
    """How many effects there are in each state."""
    rows = await transaction.run("SELECT state, count(*) AS effects FROM effects GROUP BY state")
    found = {row.state: row.effects for row in rows}
    return {state.name.lower(): found.get(state, 0) for state in State}


async def work_remains(transaction: Transaction, within_ms: int) -> bool:
    """Whether a pending effect is leased now or falls due within that time. Asks, never counts."""
    rows = await transaction.run(
        f"SELECT EXISTS (SELECT 1 FROM effects WHERE state = {State.PENDING} "
        "AND (leased_until > {now} OR due_at <= {now} + CAST(:within AS bigint))) AS remains",
        within=within_ms,
    )
    return bool(rows[0].remains)
