"""The audit: on record before it is done, with how it ended; a deed that cannot be recorded is not done."""

import asyncio

import pytest

from events.failures import Unavailable
from storage.audit import Deed, announce, audited, conclude
from storage.audit_queries import AuditedDeed, AuditFilter, read_audit
from storage.database import Database
from tests.services.databases import FlakyDatabase, scalar

EVERYTHING = AuditFilter()
DISCARD = Deed("k1", "ada", "dead-letters discard", {"ids": ["é'\"%"]}, "spam; '--", "default", "x")


async def recorded(database: Database, wanted: AuditFilter = EVERYTHING) -> list[AuditedDeed]:
    async with database.snapshot() as snapshot:
        return [deed async for deed in read_audit(snapshot, wanted)]


async def test_a_deed_is_committed_before_it_is_done_and_its_result_after(database: Database) -> None:
    async with audited(database, DISCARD) as counts:
        (before,) = await recorded(database)
        assert (before.outcome, before.ended_at, before.counts) == (None, None, {})
        counts["discarded"] = 3
    (after,) = await recorded(database)
    assert (after.key, after.who, after.action) == DISCARD[:3]
    assert (after.what, after.reason, after.tenant, after.subject) == DISCARD[3:]
    assert (after.outcome, after.counts, after.error) == ("done", {"discarded": 3}, None)
    assert after.ended_at is not None and after.at == before.at <= after.ended_at


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (Unavailable("log_unavailable", "anna@example.com"), "failed", "log_unavailable"),
        (ValueError("anna@example.com"), "failed", "ValueError"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (asyncio.CancelledError(), "interrupted", "CancelledError"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_deed_that_fails_stays_on_record_with_what_was_done_of_it(
    database: Database, error: BaseException, outcome: str, told: str
) -> None:
    with pytest.raises(type(error)):
        async with audited(database, DISCARD) as counts:
            counts["discarded"] = 1
            raise error
    (deed,) = await recorded(database)
    assert (deed.outcome, deed.counts, deed.error) == (outcome, {"discarded": 1}, told)


async def test_what_cannot_be_recorded_is_not_done(database: Database) -> None:
    flaky, done = FlakyDatabase(database), False
    flaky.down = True
    with pytest.raises(Unavailable):
        async with audited(flaky, DISCARD):
            done = True
    assert not done


async def test_nothing_on_record_is_ever_written_over(database: Database) -> None:
    other = DISCARD._replace(who="eve", what={})
    assert await announce(database, DISCARD)
    assert not await announce(database, other)
    for deed, new in ((DISCARD, True), (other, False)):
        async with database.transaction() as transaction:
            assert await conclude(transaction, deed, {"discarded": 1}) is new
    (deed,) = await recorded(database)
    assert (deed.who, deed.what) == ("ada", DISCARD.what)
    assert await scalar(database, "SELECT count(*) FROM audit") == 2


async def test_the_newest_come_first_and_filters_hold(database: Database) -> None:
    for number in range(3):
        deed = DISCARD._replace(key=f"k{number}", who=f"user-{number % 2}")
        async with audited(database, deed):
            pass
    assert sorted((d.at, d.key) for d in await recorded(database)) == [
        (d.at, d.key) for d in reversed(await recorded(database))
    ]
    assert {d.key for d in await recorded(database, AuditFilter(who="user-0"))} == {"k0", "k2"}
    assert await recorded(database, AuditFilter(action="' OR 1 = 1 --")) == []
    assert len(await recorded(database, AuditFilter(since=0))) == 3
    assert await recorded(database, AuditFilter(until=0)) == []
