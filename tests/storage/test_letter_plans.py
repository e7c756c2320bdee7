"""Questions about letters and jobs go through an index; a list of any length is never sorted."""

import pytest

from storage.database import Database
from storage.jobs import claim_job, job_runs, next_items
from storage.letter_queries import LetterFilter, find_letters
from storage.schema import LetterState
from tests.services.statements import plan_of, statements_of

FILTERS = [
    LetterFilter(),
    LetterFilter(states=()),
    LetterFilter(handler="loyalty", reason="unfit_amount"),
    LetterFilter(fingerprint="f"),
    LetterFilter(states=(), fingerprint="f"),
]
FEW = [
    LetterFilter(ids=("a", "b")),
    LetterFilter(redemption_id="r_1"),
    LetterFilter(states=(), customer_id="c"),
    LetterFilter(states=(LetterState.OPEN, LetterState.DISCARDED), ids=("a",)),
]


async def plans(database: Database, wanted: LetterFilter) -> str:
    where, parameters = wanted.where(database.dialect)
    sql = f"SELECT id, error FROM dead_letters WHERE {where} ORDER BY first_seen, id"  # noqa: S608 - ours
    async with database.transaction() as transaction:
        if database.dialect == "postgresql":
            # Of an empty table it would read the whole; of a full one it must not need to.
            await transaction.run("SET LOCAL enable_seqscan = off")
            await transaction.run("SET LOCAL enable_bitmapscan = off")
        explain = "EXPLAIN" if database.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
        return "\n".join(str(row) for row in await transaction.run(f"{explain} {sql}", **parameters))


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
async def test_letters_come_out_of_an_index_in_the_order_in_which_they_are_listed(
    database: Database, wanted: LetterFilter
) -> None:
    plan = await plans(database, wanted)
    assert "dead_letters_" in plan
    assert "Sort" not in plan and "TEMP B-TREE" not in plan


@pytest.mark.parametrize("wanted", FEW, ids=str)
async def test_few_letters_are_looked_up(sqlite: Database, wanted: LetterFilter) -> None:
    plan = await plans(sqlite, wanted)
    assert "SEARCH dead_letters" in plan
    assert "state=?" not in plan


async def test_a_worker_that_looks_for_a_job_reads_no_job_that_has_ended(sqlite: Database) -> None:
    asked = statements_of(sqlite)
    async with sqlite.transaction() as transaction:
        await claim_job(transaction, "me", 30)
        await job_runs(transaction)
        await next_items(transaction, "job", 10)
        found = [row async for row in find_letters(transaction, LetterFilter())]
    of_jobs = {sql: given for sql, given in asked.items() if "jobs" in sql or "job_items" in sql}
    assert found == [] and len(of_jobs) == 3
    lines = [line for sql, given in of_jobs.items() for line in await plan_of(sqlite, sql, given)]
    scans = {line for line in lines if line.startswith("SCAN") and "jobs_not_ended" not in line}
    assert scans == {"SCAN CONSTANT ROW"}
