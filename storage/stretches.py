"""Walking through a table by its redemption ids, so that no statement runs long, however many rows it has."""

from collections.abc import AsyncIterator
from typing import Any

from storage.database import Transaction

ROWS = 5_000


async def stretches(
    transaction: Transaction, table: str, where: str = "true", **parameters: Any
) -> AsyncIterator[tuple[str, str]]:
    """Redemption ids (after, up to and with) of a few thousand rows each, of those that `where` leaves."""
    after = ""
    while True:
        rows = await transaction.run(
            f"SELECT max(redemption_id) AS upto FROM (SELECT redemption_id FROM {table} "
            f"WHERE {where} AND redemption_id > :after ORDER BY redemption_id LIMIT {ROWS}) AS stretch",
            after=after,
            **parameters,
        )
        upto: str | None = rows[0].upto
        if upto is None:
            return
        yield after, upto
        after = upto
