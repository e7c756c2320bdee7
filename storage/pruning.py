"""Removing what nobody needs any more, in short transactions while workers work.

The keys of effects are never touched: by them a redemption is told from its duplicates, for ever. Nor is an
open letter, nor the audit.
"""

from storage.bundles import drop_bundles, unneeded_bundles
from storage.database import Database, Transaction
from storage.effects import Mark
from storage.payloads import drop_settled_payloads
from storage.rows import Rows
from storage.schema import LETTER_KIND, LetterState, State
from storage.stretches import stretches

AT_ONCE = 200
DAY = 86_400_000
"""Milliseconds."""
CLOSED = (
    f"state <> {LetterState.OPEN} AND last_seen < :before AND NOT EXISTS (SELECT 1 FROM effects e "
    "JOIN names t ON t.id = e.tenant WHERE t.name = dead_letters.tenant "
    f"AND e.redemption_id = dead_letters.id AND e.kind = {LETTER_KIND} AND e.state = {State.PENDING})"
)
"""Letters that are over, and on their topic. `last_seen` is when they died, not when they were closed."""


async def prune(database: Database, days: float, counts: dict[str, int], *, dry_run: bool = False) -> None:
    """Remove closed letters that died more than `days` ago with their history, the results by letter of jobs
    that ended before then, and records that no pending effect needs.

    `counts` tells, also when it is interrupted, what was (or would be) removed: `letters`, `job_items`,
    `records`. Raises Unavailable; doing it again goes on.
    """
    counts |= {"letters": 0, "records": 0, "job_items": 0}
    async with database.snapshot() as snapshot:
        before = (await snapshot.run("SELECT {now} AS now"))[0].now - int(days * DAY)
        if dry_run:
            counts["letters"] = await _count_letters(snapshot, before)
        leftovers = await _leftovers(snapshot)
        bundles = await unneeded_bundles(snapshot)
        items = await _items_of_ended(snapshot, before)
    if dry_run:
        counts["job_items"] = sum(items.values())
        counts["records"] = len(leftovers) + sum(bundles.values())
        return
    for start in range(0, len(leftovers), AT_ONCE):
        async with database.transaction() as transaction:
            counts["records"] += await drop_settled_payloads(transaction, leftovers[start : start + AT_ONCE])
    for bundle, records in bundles.items():
        async with database.transaction() as transaction:
            await drop_bundles(transaction, [bundle])
        counts["records"] += records
    for job, total in items.items():
        for _ in range(0, total, AT_ONCE):
            async with database.transaction() as transaction:
                counts["job_items"] += await _remove_items(transaction, job)
    after = ""
    while True:
        async with database.transaction() as transaction:
            last, removed = await _remove_letters(transaction, before, after)
        if last is None:
            return
        counts["letters"] += removed
        after = last


async def _count_letters(snapshot: Transaction, before: int) -> int:
    rows = await snapshot.run(f"SELECT count(*) AS letters FROM dead_letters WHERE {CLOSED}", before=before)
    count: int = rows[0].letters
    return count


async def _leftovers(snapshot: Transaction) -> list[Mark]:
    """Records without a pending effect. Whoever settles the last effect removes its record: these are of
    workers that never came to it."""
    found: list[Mark] = []
    async for after, upto in stretches(snapshot, "payloads"):
        rows = await snapshot.run(
            "SELECT p.tenant, p.redemption_id, p.kind FROM payloads p WHERE p.redemption_id > :after "
            "AND p.redemption_id <= :upto AND NOT EXISTS (SELECT 1 FROM effects e "
            "WHERE e.tenant = p.tenant AND e.redemption_id = p.redemption_id AND e.kind = p.kind "
            f"AND e.state = {State.PENDING})",
            after=after,
            upto=upto,
        )
        found += [Mark(row.tenant, row.redemption_id, 0, row.kind) for row in rows]
    return found


async def _remove_letters(transaction: Transaction, before: int, after: str) -> tuple[str | None, int]:
    """The last id looked at (None: there is none left), and how many were removed."""
    rows = await transaction.run(
        f"SELECT id FROM dead_letters WHERE id > :after AND {CLOSED} ORDER BY id LIMIT :limit {{lock}}",
        after=after,
        before=before,
        limit=AT_ONCE,
    )
    if not rows:
        return None, 0
    # Looked at once more under the lock: one that died again meanwhile is open.
    removed = await transaction.run(
        "DELETE FROM dead_letters WHERE id IN (SELECT r.id FROM {rows}) "
        f"AND state <> {LetterState.OPEN} RETURNING id",
        Rows({"id": "text"}, [(row.id,) for row in rows]),
    )
    await transaction.run_each(
        "DELETE FROM letter_history WHERE letter = :id", [{"id": row.id} for row in removed]
    )
    return rows[-1].id, len(removed)


async def _items_of_ended(snapshot: Transaction, before: int) -> dict[str, int]:
    """Jobs that ended before then, with so many results; the jobs themselves tell who did what, and stay."""
    rows = await snapshot.run(
        "SELECT j.id, count(*) AS items FROM jobs j JOIN job_items i ON i.job = j.id "
        "WHERE j.ended_at < :before GROUP BY j.id ORDER BY j.id",
        before=before,
    )
    return {row.id: row.items for row in rows}


async def _remove_items(transaction: Transaction, job: str) -> int:
    rows = await transaction.run(
        "DELETE FROM job_items WHERE job = :job AND position IN (SELECT position FROM job_items "
        "WHERE job = :job ORDER BY position LIMIT :limit) RETURNING position",
        job=job,
        limit=AT_ONCE,
    )
    return len(rows)
