"""Examples of what was delivered beyond the documented contract: one of each kind, its structure alone."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import msgspec

from events.drift import Drift
from storage.database import Transaction
from storage.row import Row
from storage.rows import Rows

MOST = 300
"""Examples kept: hostile keys must not fill the database."""
LONGEST = 8_000
"""Characters of a structure."""
COLUMNS = {
    "kind": "text",
    "place": "text",
    "seen": "text",
    "tenant": "text",
    "topic": "text",
    "partition": "integer",
    "offset_in_log": "bigint",
    "structure": "text",
}
TOO_LONG = '"left out: too long"'


class Example(NamedTuple):
    """Where it was seen first, and how the delivery was built."""

    tenant: str
    topic: str
    partition: int
    offset: int
    structure: Any


async def keep_examples(transaction: Transaction, examples: Mapping[Drift, Example]) -> None:
    """Store those of kinds (kind, place, seen) that have none."""
    rows = [(*kind, *example[:-1], _json(example.structure)) for kind, example in sorted(examples.items())]
    await transaction.run(
        'INSERT INTO drift (kind, place, seen, tenant, topic, partition, "offset", structure, first_seen) '
        "SELECT r.kind, r.place, r.seen, r.tenant, r.topic, r.partition, r.offset_in_log, r.structure, {now} "
        f"FROM {{rows}} WHERE (SELECT count(*) FROM drift) < {MOST} ON CONFLICT DO NOTHING",
        Rows(COLUMNS, rows),
    )


def find_examples(snapshot: Transaction) -> AsyncIterator[Row]:
    """The oldest first."""
    return snapshot.stream(
        'SELECT kind, place, seen, first_seen, tenant, topic, partition, "offset", structure '
        "FROM drift ORDER BY first_seen, kind, place, seen"
    )


def _json(structure: Any) -> str:
    text = msgspec.json.encode(structure).decode()
    return text if len(text) <= LONGEST else TOO_LONG
