"""How calls to each dependency of effect handlers went, over all workers, and past any restart."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from storage.database import Transaction
from storage.handler_states import Standing
from storage.rows import Rows

REMEMBERED_MS = 60 * 24 * 3600 * 1000
"""How long outages are kept: longer than effects wait."""


class Breaker(NamedTuple):
    """What is known of one dependency. Moments are milliseconds of the database's clock."""

    dependency: str
    failures: int = 0
    """Calls in a row that got no answer."""
    failing_since: int | None = None
    """When the first of these ended."""
    answered_at: int | None = None
    """When it was last seen to answer, give or take some seconds."""
    opened_at: int | None = None
    """None: closed, calls are made."""
    probe_at: int | None = None
    """While open: when the next call may be made, to find out whether it answers again."""

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None


class Signals(NamedTuple):
    """What tells a delivery whether it may call."""

    now: int
    """Milliseconds by the database's clock."""
    stopped: bool
    """The handler was paused or halted."""
    breakers: Mapping[str, Breaker]


COLUMNS = ", ".join(f"b.{column}" for column in Breaker._fields)


async def read_signals(transaction: Transaction, handler: str) -> Signals:
    rows = await transaction.run(
        "SELECT {now} AS now, (SELECT count(*) FROM handler_states WHERE handler = :handler "
        f"AND standing <> {Standing.RUNNING:d}) AS stopped, {COLUMNS} "
        "FROM (SELECT 1 AS one) AS o LEFT JOIN breakers b ON true",
        handler=handler,
    )
    breakers = [Breaker._make(row[2:]) for row in rows if row.dependency is not None]
    return Signals(rows[0].now, bool(rows[0].stopped), {one.dependency: one for one in breakers})


async def closed_doors(transaction: Transaction) -> set[str]:
    """The handlers that stand still and the dependencies whose breakers are open."""
    rows = await transaction.run(
        f"SELECT handler AS name FROM handler_states WHERE standing <> {Standing.RUNNING:d} "
        "UNION ALL SELECT dependency FROM breakers WHERE opened_at IS NOT NULL"
    )
    return {row.name for row in rows}


async def open_breakers(transaction: Transaction) -> Sequence[Breaker]:
    rows = await transaction.run(
        f"SELECT {COLUMNS} FROM breakers b WHERE b.opened_at IS NOT NULL ORDER BY b.dependency"
    )
    return [Breaker._make(row) for row in rows]


async def lock_breakers(transaction: Transaction, dependencies: Collection[str]) -> dict[str, Breaker]:
    """As they are now, and nobody else may change them meanwhile. One not stored yet is as new."""
    rows = await transaction.run(
        f"SELECT {COLUMNS} FROM breakers b WHERE b.dependency IN (SELECT r.dependency FROM {{rows}}) "
        "ORDER BY b.dependency {lock}",
        Rows({"dependency": "text"}, [(name,) for name in sorted(dependencies)]),
    )
    return {name: Breaker(name) for name in dependencies} | {
        row.dependency: Breaker._make(row) for row in rows
    }


async def store_breakers(transaction: Transaction, breakers: Collection[Breaker]) -> None:
    await transaction.run_each(
        "INSERT INTO breakers (dependency, failures, failing_since, answered_at, opened_at, probe_at) "
        "VALUES (:dependency, :failures, :failing_since, :answered_at, :opened_at, :probe_at) "
        "ON CONFLICT (dependency) DO UPDATE SET failures = excluded.failures, "
        "failing_since = excluded.failing_since, answered_at = excluded.answered_at, "
        "opened_at = excluded.opened_at, probe_at = excluded.probe_at",
        [breaker._asdict() for breaker in sorted(breakers)],
    )


async def begin_probe(transaction: Transaction, dependency: str, until: int) -> bool:
    """Claim the one call that may be made while the breaker is open; nobody else makes one before `until`."""
    return bool(
        await transaction.run(
            "UPDATE breakers SET probe_at = CAST(:until AS bigint) WHERE dependency = :dependency "
            "AND opened_at IS NOT NULL AND probe_at <= {now} RETURNING dependency",
            dependency=dependency,
            until=until,
        )
    )


async def end_probe(transaction: Transaction, dependency: str) -> None:
    """There is nothing to make the call with: whoever has something may."""
    await transaction.run(
        "UPDATE breakers SET probe_at = {now} WHERE dependency = :dependency AND opened_at IS NOT NULL",
        dependency=dependency,
    )


async def store_outage(transaction: Transaction, dependency: str, opened_at: int, closed_at: int) -> None:
    await transaction.run(
        "INSERT INTO outages (dependency, opened_at, closed_at) VALUES (:dependency, :opened_at, :closed_at) "
        "ON CONFLICT DO NOTHING",
        dependency=dependency,
        opened_at=opened_at,
        closed_at=closed_at,
    )
    await transaction.run("DELETE FROM outages WHERE closed_at < :since", since=closed_at - REMEMBERED_MS)


async def outages_of(transaction: Transaction, dependency: str, since: int) -> list[tuple[int, int]]:
    """When (from, until) the breaker was open, as far as that lies after `since`."""
    rows = await transaction.run(
        "SELECT opened_at, closed_at FROM outages WHERE dependency = :dependency AND closed_at > :since",
        dependency=dependency,
        since=since,
    )
    return [(max(row.opened_at, since), row.closed_at) for row in rows]
