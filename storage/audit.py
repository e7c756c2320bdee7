"""What operators do: on record before it is done, and how it ended once it has. Append-only, but for
what an erasure takes out (storage.filters_naming)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from events.failures import Failure
from storage.database import Database, Transaction

RESULT = "/result"
"""What the key of a result's row ends with, after the key of its deed."""
INSERT = (
    "INSERT INTO audit (key, at, who, action, tenant, subject, reason, content, result_of) VALUES "
    "(:key, {now}, :who, :action, :tenant, :subject, :reason, :content, :result_of) "
    "ON CONFLICT DO NOTHING RETURNING key"
)


class Deed(NamedTuple):
    """What somebody is about to do."""

    key: str
    """Its own for ever, such as a `Runtime.token()`."""
    who: str
    """A user of the operating system, or the name of a token."""
    action: str
    """The command, such as `dead-letters discard`."""
    what: Mapping[str, Any]
    """What it is done to and how: a filter, ids, points. Goes into JSON; never a secret."""
    reason: str | None = None
    """What the operator says."""
    tenant: str | None = None
    subject: str | None = None
    """The one thing it is about, if there is one: a customer, a handler, a job."""


async def announce(database: Database, deed: Deed) -> bool:
    """Put a deed on record, in a transaction of its own; returns whether its key is new.

    Whoever cannot write it down must not do it: this raises, and the deed is not begun.
    """
    async with database.transaction() as transaction:
        return await _insert(transaction, deed, msgspec.json.encode(deed.what).decode(), None)


async def conclude(
    transaction: Transaction,
    deed: Deed,
    counts: Mapping[str, int],
    outcome: str = "done",
    error: str | None = None,
) -> bool:
    """Say how a deed ended, once; returns False if that was said before.

    In the deed's own transaction this is its mark: what has a result was done.
    """
    told = {"outcome": outcome, "counts": counts} | ({"error": error} if error else {})
    return await _insert(transaction, deed, msgspec.json.encode(told).decode(), deed.key)


@asynccontextmanager
async def audited(database: Database, deed: Deed) -> AsyncIterator[dict[str, int]]:
    """Announce a deed, have it done in this block, and record how it ended with the counts put into the dict.

    A process killed in the block leaves a deed without a result.
    """
    await announce(database, deed)
    counts: dict[str, int] = {}
    try:
        yield counts
    except BaseException as error:
        # Not what the error says: it may quote what nobody may read here.
        told = error.reason if isinstance(error, Failure) else type(error).__name__
        outcome = "failed" if isinstance(error, Exception) else "interrupted"
        async with database.transaction() as transaction:
            await conclude(transaction, deed, counts, outcome, told)
        raise
    async with database.transaction() as transaction:
        await conclude(transaction, deed, counts)


async def _insert(transaction: Transaction, deed: Deed, content: str, result_of: str | None) -> bool:
    values = deed._asdict() | {"key": deed.key if result_of is None else f"{deed.key}{RESULT}"}
    del values["what"]
    return bool(await transaction.run(INSERT, content=content, result_of=result_of, **values))
