"""The outlines of bodies that were decoded well once: what looks like them ought to decode."""

from collections.abc import Collection
from typing import NamedTuple

from storage.database import Transaction
from storage.rows import Rows

COLUMNS = {"tenant": "text", "outline": "text"}


class Outline(NamedTuple):
    tenant: str
    outline: str


async def known_outlines(transaction: Transaction, outlines: Collection[Outline]) -> set[Outline]:
    """Those of them that are stored."""
    if not outlines:
        return set()
    rows = await transaction.run(
        "SELECT o.tenant, o.outline FROM {rows} JOIN decoded_outlines o "
        "ON o.tenant = r.tenant AND o.outline = r.outline",
        Rows(COLUMNS, sorted(outlines)),
    )
    return {Outline._make(row) for row in rows}


async def store_outlines(transaction: Transaction, outlines: Collection[Outline]) -> None:
    if outlines:
        await transaction.run(
            "INSERT INTO decoded_outlines (tenant, outline) SELECT r.tenant, r.outline FROM {rows} "
            "WHERE true ON CONFLICT DO NOTHING",
            Rows(COLUMNS, sorted(outlines)),
        )
