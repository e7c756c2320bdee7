"""Looking at jobs for operators."""

from collections.abc import AsyncIterator

from storage.database import Transaction
from storage.row import Row
from storage.schema import ItemState, JobState, LetterEvent

LISTED = (
    "id, kind, state, who, reason, what, rate, total, position, created_at, ended_at, "
    "coalesce(leased_until > {now}, false) AS leased"
)


async def find_jobs(
    transaction: Transaction, state: JobState | None = None, limit: int | None = None
) -> AsyncIterator[Row]:
    """Jobs (columns LISTED), the newest first."""
    where = f"WHERE state = {state}" if state is not None else ""
    most = f"LIMIT {int(limit)}" if limit is not None else ""
    async for row in transaction.stream(
        f"SELECT {LISTED} FROM jobs {where} ORDER BY created_at DESC, id DESC {most}"
    ):
        yield row


async def show_job(transaction: Transaction, job: str) -> Row | None:
    rows = await transaction.run(f"SELECT {LISTED} FROM jobs WHERE id = :id", id=job)
    return rows[0] if rows else None


async def count_died_again(transaction: Transaction, job: str) -> int:
    """How many of the letters that a job has replayed have died of that replay."""
    rows = await transaction.run(
        "SELECT count(*) AS died FROM job_items i JOIN letter_history h ON h.letter = i.letter "
        f"AND h.generation = i.generation AND h.event = {LetterEvent.DIED} "
        f"WHERE i.job = :job AND i.state = {ItemState.REPLAYED}",
        job=job,
    )
    died: int = rows[0].died
    return died


async def items_of(transaction: Transaction, job: str) -> AsyncIterator[Row]:
    """Rows (letter, state, generation, at, died): what became of each letter, in the order of the work."""
    async for row in transaction.stream(
        "SELECT i.letter, i.state, i.generation, i.at, h.letter IS NOT NULL AS died FROM job_items i "
        "LEFT JOIN letter_history h ON h.letter = i.letter AND h.generation = i.generation "
        f"AND h.event = {LetterEvent.DIED} AND i.state = {ItemState.REPLAYED} "
        "WHERE i.job = :job ORDER BY i.position",
        job=job,
    ):
        yield row
