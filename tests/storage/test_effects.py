"""Leases, marks and replays as the table keeps them: who may claim, and whose word counts."""

import asyncio
from collections.abc import Sequence
from typing import Any

from storage.database import Database
from storage.effects import Mark, delete_effects, dependencies_of, insert_effects, revive_effects, set_effects
from storage.leases import (
    Lease,
    Result,
    lease_any,
    lease_due,
    renew_leases,
    store_results,
    take_over,
)
from storage.payloads import drop_settled_payloads, load_payloads
from storage.row import Row
from storage.rows import Rows
from storage.schema import State
from tests.services.databases import scalar

HANDLER = 7


def mark(number: int) -> Mark:
    return Mark(1, f"r_{number:05}", HANDLER, 0)


async def pending(database: Database, count: int) -> list[Mark]:
    marks = [mark(number) for number in range(count)]
    async with database.transaction() as transaction:
        assert await insert_effects(transaction, dict.fromkeys(marks, State.PENDING)) == set(marks)
    return marks


async def claim(database: Database, owner: str, limit: int = 10, *, others: bool = True) -> list[Lease]:
    """What is due and free; `others`: and what others lost."""
    async with database.transaction() as transaction:
        await transaction.run("INSERT INTO names (id, name) VALUES (7, 'seven') ON CONFLICT DO NOTHING")
        await transaction.read_names()
        leases = await lease_due(transaction, HANDLER, HANDLER, owner, limit, 30.0)
        for suspects in (False, True) if others else ():
            left = limit - len(leases)
            leases += await take_over(transaction, HANDLER, HANDLER, owner, left, 30.0, suspects=suspects)
        return leases


async def expire(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run("UPDATE effects SET leased_until = {now} - 1 WHERE leased_until IS NOT NULL")


async def test_an_effect_is_new_once(database: Database) -> None:
    await pending(database, 3)
    async with database.transaction() as transaction:
        states = {mark(2): State.PENDING, mark(3): State.DONE}
        assert await insert_effects(transaction, states) == {mark(3)}


async def test_no_more_is_claimed_than_asked_and_each_once(database: Database) -> None:
    marks = await pending(database, 500)
    claims = await asyncio.gather(*(claim(database, f"worker {number}", 30) for number in range(8)))
    leases = [lease for those in claims for lease in those]
    assert {len(those) for those in claims} == {30}
    assert len({lease.mark for lease in leases}) == len(leases) == 240
    assert {lease.mark for lease in leases} < set(marks)
    assert {(lease.number, lease.attempts, lease.generation) for lease in leases} == {(1, 1, 0)}


async def test_an_expired_lease_is_claimed_by_another_whose_word_counts(database: Database) -> None:
    await pending(database, 1)
    (first,) = await claim(database, "first")
    assert await claim(database, "second") == []
    await expire(database)
    assert await claim(database, "second", others=False) == []
    (second,) = await claim(database, "second")
    assert (second.number, second.attempts) == (2, 2)
    async with database.transaction() as transaction:
        assert await renew_leases(transaction, "first", [first], 30.0) == set()
        assert await store_results(transaction, "first", [Result(first, State.DONE, 1)]) == set()
        # Neither the owner alone nor the number alone is enough.
        assert await store_results(transaction, "second", [Result(first, State.DONE, 1)]) == set()
        assert await store_results(transaction, "first", [Result(second, State.DONE, 2)]) == set()
        assert await renew_leases(transaction, "second", [second], 30.0) == {mark(0)}
        assert await store_results(transaction, "second", [Result(second, State.DONE, 2)]) == {mark(0)}
        # Said once.
        assert await store_results(transaction, "second", [Result(second, State.DEAD, 2)]) == set()
    assert await scalar(database, "SELECT state FROM effects") == State.DONE


async def test_of_two_words_about_one_effect_that_of_the_later_lease_counts(database: Database) -> None:
    await pending(database, 1)
    (first,) = await claim(database, "worker")
    await expire(database)
    (second,) = await claim(database, "worker")
    async with database.transaction() as transaction:
        results = [Result(first, State.PENDING, 1, error="lost"), Result(second, State.DONE, 2)]
        assert await store_results(transaction, "worker", results) == {mark(0)}
    assert await scalar(database, "SELECT state FROM effects") == State.DONE


async def test_an_expired_lease_that_nobody_claimed_still_counts(database: Database) -> None:
    await pending(database, 1)
    (lease,) = await claim(database, "first")
    await expire(database)
    async with database.transaction() as transaction:
        assert await store_results(transaction, "first", [Result(lease, State.DONE, 1)]) == {mark(0)}


async def test_a_retry_is_due_later_by_the_databases_clock(database: Database) -> None:
    await pending(database, 1)
    (lease,) = await claim(database, "first")
    async with database.transaction() as transaction:
        again = Result(lease, State.PENDING, 1, wait=60_000, error="no answer")
        assert await store_results(transaction, "first", [again]) == {mark(0)}
    assert await claim(database, "first") == []
    async with database.transaction() as transaction:
        (row,) = await transaction.run("SELECT due_at - {now} AS wait, lease_owner, last_error FROM effects")
        assert 0 < row.wait <= 60_000
        assert (row.lease_owner, row.last_error) == (None, "no answer")


async def test_a_replay_claims_what_is_dead_or_discarded_once_a_generation(database: Database) -> None:
    states = (State.DEAD, State.DISCARDED, State.DONE, State.PENDING, State.SKIPPED)
    marks = [mark(number) for number in range(len(states))]
    async with database.transaction() as transaction:
        await set_effects(
            transaction, {one: (state, 3, "why") for one, state in zip(marks, states, strict=True)}
        )
        first = dict.fromkeys(marks, (State.PENDING, 1))
        assert await revive_effects(transaction, first) == set(marks[:2])
        assert await revive_effects(transaction, first) == set()
        await set_effects(transaction, {marks[0]: (State.DEAD, 1, "again")})
        assert await revive_effects(transaction, first) == set()
        assert await revive_effects(transaction, {marks[0]: (State.DONE, 2)}) == {marks[0]}
        assert await revive_effects(transaction, {mark(99): (State.DONE, 2)}) == set()
    leases = await claim(database, "worker")
    assert [(lease.mark, lease.attempts, lease.generation) for lease in leases] == [(marks[1], 1, 1)]


async def test_only_the_marks_named_are_deleted(database: Database) -> None:
    marks = await pending(database, 5)
    async with database.transaction() as transaction:
        await delete_effects(transaction, [marks[1], marks[3], marks[0]._replace(kind=1)])
    assert await scalar(database, "SELECT count(*) FROM effects") == 3


async def test_a_probe_leaves_what_others_lost_to_who_takes_over(database: Database) -> None:
    """It would not learn that the call was perhaps made."""
    await pending(database, 1)
    await claim(database, "lost")
    await expire(database)
    async with database.transaction() as transaction:
        await transaction.read_names()
        assert await lease_any(transaction, HANDLER, HANDLER, "me", 30.0) == []


async def test_sqlite_searches_by_whole_keys(sqlite: Database) -> None:
    """By tenant alone it would look at every effect there is, for each event of a batch."""
    lease = Lease(mark(1), 1, 1, 0)
    async with sqlite.transaction() as transaction:
        run = transaction.run
        plans: list[str] = []

        async def explained(sql: str, rows: Rows | None = None, **parameters: Any) -> Sequence[Row]:
            found = await run("EXPLAIN QUERY PLAN " + sql, rows, **parameters)
            plans.extend(row.detail for row in found)
            return []

        transaction.run = explained  # type: ignore[method-assign]
        await revive_effects(transaction, {mark(1): (State.DONE, 1)})
        await delete_effects(transaction, [mark(1)])
        await lease_due(transaction, HANDLER, HANDLER, "me", 1, 30.0)
        await lease_any(transaction, HANDLER, HANDLER, "me", 30.0)
        await take_over(transaction, HANDLER, HANDLER, "me", 1, 30.0, suspects=True)
        await dependencies_of(transaction, HANDLER)
        await renew_leases(transaction, "me", [lease], 30.0)
        await store_results(transaction, "me", [Result(lease, State.DONE, 1)])
        await drop_settled_payloads(transaction, [mark(1)])
        await load_payloads(transaction, [mark(1)])
    assert len(plans) > 10
    for table in ("effects", "payloads", "e", "p"):
        assert [plan for plan in plans if plan.startswith(f"SCAN {table} ")] == []
    assert [plan for plan in plans if "(tenant=?)" in plan] == []
