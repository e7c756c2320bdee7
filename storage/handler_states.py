"""Which handlers stand still, paused by an operator or halted by the guard: stored, so for every worker."""

from enum import IntEnum
from typing import NamedTuple

from storage.database import Transaction

DECODING = "decoding"
"""Stands in place of a handler for reading records at all."""


class Standing(IntEnum):
    """Whether a handler runs. As long as it stands still none of its effects is claimed; one that every
    batch needs (a transactional handler, or decoding) holds up the intake."""

    RUNNING = 0
    PAUSED = 1
    """By an operator."""
    HALTED = 2
    """By the guard: too many died."""


class HandlerState(NamedTuple):
    """What was last said of a handler; one without a row runs."""

    handler: str
    standing: Standing
    changed_at: int
    """Milliseconds. Another one: counting begins anew."""
    who: str
    """A user of the operating system, or `guard`."""
    reason: str
    allowance: int
    """How many may still die uncounted, as an operator said."""

    @property
    def stands(self) -> bool:
        return self.standing is not Standing.RUNNING


GUARD = "guard"
STOPPED = (
    "SELECT n.id FROM handler_states s JOIN names n ON n.name = s.handler "
    f"WHERE s.standing <> {Standing.RUNNING:d}"
)
"""The numbers of the handlers that stand still, for the WHERE clause of a statement on effects."""


async def handler_states(transaction: Transaction) -> dict[str, HandlerState]:
    """By handler."""
    rows = await transaction.run(
        "SELECT handler, standing, changed_at, who, reason, allowance FROM handler_states ORDER BY handler"
    )
    return {row.handler: HandlerState._make((row.handler, Standing(row.standing), *row[2:])) for row in rows}


async def stop_handler(
    transaction: Transaction, handler: str, standing: Standing, who: str, reason: str
) -> bool:
    """Have a handler stand still; returns False if it did already, which then stays as it was said."""
    return bool(
        await transaction.run(
            "INSERT INTO handler_states (handler, standing, changed_at, who, reason, allowance) "
            "VALUES (:handler, :standing, {now}, :who, :reason, 0) ON CONFLICT (handler) DO UPDATE SET "
            "standing = excluded.standing, changed_at = excluded.changed_at, who = excluded.who, "
            "reason = excluded.reason, allowance = 0 "
            f"WHERE handler_states.standing = {Standing.RUNNING:d} RETURNING handler",
            handler=handler,
            standing=int(standing),
            who=who,
            reason=reason,
        )
    )


async def resume_handler(
    transaction: Transaction, handler: str, who: str, reason: str, allowance: int = 0
) -> bool:
    """Let a handler run again; `allowance` of its events may die before the guard counts. Returns False if
    it ran already: then only a new allowance is taken down."""
    rows = await transaction.run(
        "SELECT standing FROM handler_states WHERE handler = :handler", handler=handler
    )
    stood = bool(rows) and rows[0].standing != Standing.RUNNING
    if stood or allowance:
        await transaction.run(
            "INSERT INTO handler_states (handler, standing, changed_at, who, reason, allowance) "
            f"VALUES (:handler, {Standing.RUNNING:d}, {{now}}, :who, :reason, :allowance) "
            "ON CONFLICT (handler) DO UPDATE SET standing = excluded.standing, "
            "changed_at = excluded.changed_at, who = excluded.who, reason = excluded.reason, "
            "allowance = excluded.allowance",
            handler=handler,
            who=who,
            reason=reason,
            allowance=allowance,
        )
    return stood


async def spend_allowance(transaction: Transaction, handler: str, deaths: int) -> None:
    """So many of those that may die have died."""
    await transaction.run(
        "UPDATE handler_states SET allowance = CASE WHEN allowance > :deaths THEN allowance - :deaths "
        "ELSE 0 END WHERE handler = :handler",
        handler=handler,
        deaths=deaths,
    )
