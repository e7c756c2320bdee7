"""Fills a PostgreSQL store: what a worker has stored there, many times over, under ids of the same shape.

Ids are hashes, so copies fall at random places of every index, as redemptions do in life. Indexes are built
after the rows, as full as random growth leaves them: kept up meanwhile, they would take far longer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from storage.schema import State, metadata

COPIED = ("facts", "orders", "entries", "effects")
"""All in which a redemption leaves a row; whoever copies them owes the balances too."""
ROWS_AT_ONCE = 500_000
SESSION = {
    "maintenance_work_mem": "512MB",
    "work_mem": "256MB",
    # The tables are filled beside each other.
    "max_parallel_maintenance_workers": "0",
    "max_parallel_workers_per_gather": "0",
}
FULLNESS = 70
"""Percent of an index page: pages filled and split at random are ln 2 full. Built as usual, 90 percent full,
nearly all would be split by the next tenth of new rows."""

TOOLS = """
DROP SCHEMA IF EXISTS filling CASCADE;
CREATE SCHEMA filling;
CREATE FUNCTION filling.another(id text, copy bigint) RETURNS text LANGUAGE sql STABLE
    RETURN left(id, strpos(id, '_')) || left(md5(id || '-' || copy), length(id) - strpos(id, '_'));
CREATE FUNCTION filling.customer(id text, copy bigint, customers bigint) RETURNS text LANGUAGE sql STABLE
    RETURN left(id, strpos(id, '_')) || left(
        md5(int8send((hashtextextended(id, copy) & x'7fffffffffffffff'::bigint) % customers)),
        length(id) - strpos(id, '_')
    );
"""
"""The copy's customer is one of those that `bench.events` tells of, by the same hash: fresh events are of
customers that are known."""
COPY_OF = {
    **dict.fromkeys(
        ("redemption_id", "order_key", "order_id", "parent_id"), "filling.another(b.{column}, c.copy)"
    ),
    "customer_id": "filling.customer(b.customer_id, c.copy, $3)",
    "key": "replace(b.key, b.order_key, filling.another(b.order_key, c.copy))",
}
"""The columns in which a copy differs."""
BALANCES = """
INSERT INTO balances (tenant, customer_id, points)
SELECT tenant, customer_id, sum(points) FROM entries GROUP BY tenant, customer_id
"""
INDEXES = f"""
SELECT i.indexrelid::regclass::text AS name,
    CASE WHEN c.oid IS NULL THEN format('DROP INDEX %s', i.indexrelid::regclass)
    ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', i.indrelid::regclass, c.conname) END AS dropping,
    CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
    ELSE format(
        'ALTER TABLE %s ADD CONSTRAINT %I %s', i.indrelid::regclass, c.conname, pg_get_constraintdef(c.oid)
    ) END || ' WITH (fillfactor = {FULLNESS})' AS building
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid
WHERE i.indrelid = $1::regclass AND i.indpred IS NULL
"""  # noqa: S608 (nothing comes from outside)
"""Those over all rows; what copies add to the others is little or nothing."""


async def fill(url: str, redemptions: int, customers: int) -> int:
    """Copy the redemptions whose effects are done, of `customers` customers in all, until about so many are
    stored; returns how many that adds. No worker may run meanwhile.

    Raises RuntimeError when there is nothing to copy."""
    async with _session(url) as session:
        await session.execute(TOOLS)
        for table in COPIED:
            await session.execute(
                f"CREATE TABLE filling.{table} AS SELECT * FROM {table} WHERE redemption_id IN "  # noqa: S608
                f"(SELECT redemption_id FROM effects GROUP BY 1 HAVING max(state) = {State.DONE:d})"
            )
        there, base = await session.fetchrow(
            "SELECT (SELECT count(*) FROM facts), (SELECT count(*) FROM filling.facts)"
        )
        if not base:
            raise RuntimeError("no redemption whose effects are done")
        copies = max(0, round((redemptions - there) / base))
        await asyncio.gather(*(_copy(url, table, copies, customers, base) for table in COPIED))
        async with _rebuilt(session, "balances"):
            await session.execute("TRUNCATE balances")
            await session.execute(BALANCES)
        await session.execute("DROP SCHEMA filling CASCADE")
        # As autovacuum would have, long ago; and no page waits to be written.
        await session.execute(f"VACUUM (ANALYZE) {', '.join((*COPIED, 'balances'))}")
        await session.execute("CHECKPOINT")
    added: int = base * copies
    return added


async def _copy(url: str, table: str, copies: int, customers: int, base: int) -> None:
    columns = [column.name for column in metadata.tables[table].columns]
    values = [COPY_OF.get(column, "b.{column}").format(column=column) for column in columns]
    insert = (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "  # noqa: S608
        f"FROM generate_series($1::bigint, $2::bigint) AS c(copy) CROSS JOIN filling.{table} b"
    )
    # A parameter that a statement has no use for has no type.
    given = (customers,) if "customer_id" in columns else ()
    at_once = max(1, ROWS_AT_ONCE // base)
    async with _session(url) as session, _rebuilt(session, table):
        for first in range(1, copies + 1, at_once):
            await session.execute(insert, first, min(copies, first + at_once - 1), *given)


@asynccontextmanager
async def _rebuilt(session: "asyncpg.Connection[asyncpg.Record]", table: str) -> AsyncIterator[None]:
    """Without the table's indexes; then they are there again, by the same names and settings."""
    indexes = await session.fetch(INDEXES, table)
    for index in indexes:
        await session.execute(index["dropping"])
    yield
    for index in indexes:
        await session.execute(index["building"])
        await session.execute(f"ALTER INDEX {index['name']} RESET (fillfactor)")


@asynccontextmanager
async def _session(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    session = await asyncpg.connect(url, server_settings=SESSION)
    try:
        yield session
    finally:
        await session.close()
