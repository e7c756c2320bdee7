"""Walking through a table by its ids, so that no statement runs long, however many rows it has."""

from collections.abc import AsyncIterator
from typing import Any

from storage.database import Transaction

ROWS = 5_000


async def stretches(
    transaction: Transaction,
    table: str,
    where: str = "true",
    *,
    key: str = "redemption_id",
    **parameters: Any,
) -> AsyncIterator[tuple[str, str]]:
    """Ids (after, up to and with) of a few thousand rows each, of those that `where` leaves."""
    after = ""
    while True:
        rows = await transaction.run(
            f"SELECT max({key}) AS upto FROM (SELECT {key} FROM {table} "
            f"WHERE {where} AND {key} > :after ORDER BY {key} LIMIT {ROWS}) AS stretch",
            after=after,
            **parameters,
        )
        upto: str | None = rows[0].upto
        if upto is None:
            return
        yield after, upto
        after = upto
