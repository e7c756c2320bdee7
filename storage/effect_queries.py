"""Looking at effects for operators."""

from collections.abc import Sequence

from storage.database import Transaction
from storage.handler_states import STOPPED
from storage.row import Row
from storage.schema import State


async def effects_of(transaction: Transaction, tenant: int, redemption_id: str) -> Sequence[Row]:
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


async def counts_by_handler(transaction: Transaction, state: State) -> dict[str, int]:
    """How many effects of each handler are PENDING or DEAD: the states that have a partial index."""
    rows = await transaction.run(
        f"SELECT handler, count(*) AS effects FROM effects WHERE state = {int(state)} GROUP BY handler"
    )
    return {transaction.names.word(row.handler): row.effects for row in rows}


async def work_remains(transaction: Transaction, within_ms: int) -> bool:
    """Whether a pending effect is leased now or falls due within that time. Asks, never counts.

    Those of a handler that stands still are not due, whenever they would be.
    """
    rows = await transaction.run(
        # Handler by handler: an index finds one that is due, among however many that stand still.
        f"SELECT EXISTS (SELECT 1 FROM names n WHERE n.id NOT IN ({STOPPED}) AND EXISTS ("
        f"SELECT 1 FROM effects e WHERE e.handler = n.id AND e.state = {State.PENDING} "
        "AND e.due_at <= {now} + CAST(:within AS bigint))) "
        f"OR EXISTS (SELECT 1 FROM effects WHERE state = {State.PENDING} AND leased_until > {{now}}) "
        "AS remains",
        within=within_ms,
    )
    return bool(rows[0].remains)


async def is_due(transaction: Transaction, handler: str) -> bool:
    """Whether an effect of this handler is leased or due now. Never as long as the handler stands still."""
    rows = await transaction.run(
        f"SELECT EXISTS (SELECT 1 FROM effects e JOIN names n ON n.id = e.handler WHERE n.name = :handler "
        f"AND e.state = {State.PENDING} AND e.due_at <= {{now}} AND e.handler NOT IN ({STOPPED})) AS due",
        handler=handler,
    )
    return bool(rows[0].due)
