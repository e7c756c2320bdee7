"""How far a backfill goes: its ends are those of its beginning, however often it is broken off."""

from collections.abc import Mapping
from typing import NamedTuple

from storage.database import Transaction
from storage.positions import positions
from storage.rows import Rows


class Stretch(NamedTuple):
    """The offsets [first, end) of a partition; those before `next` are done."""

    first: int
    next: int
    end: int


async def stretches(transaction: Transaction, group: str, topic: str) -> dict[int, Stretch]:
    """Of a backfill that was begun and not ended, by partition; {}: there is none."""
    rows = await transaction.run(
        "SELECT partition, first_offset, end_offset FROM backfills WHERE consumer_group = :group "
        "AND topic = :topic ORDER BY partition",
        group=group,
        topic=topic,
    )
    done = await positions(transaction, group, topic)
    return {
        row.partition: Stretch(
            row.first_offset, max(row.first_offset, done.get(row.partition, 0)), row.end_offset
        )
        for row in rows
    }


async def begin_backfill(
    transaction: Transaction, group: str, topic: str, ranges: Mapping[int, tuple[int, int]]
) -> None:
    """Take down the offsets [first, end) by partition. Of two that begin at once the first one's hold."""
    await transaction.run(
        "INSERT INTO backfills (consumer_group, topic, partition, first_offset, end_offset) "
        "SELECT CAST(:group AS text), CAST(:topic AS text), r.partition, r.first, r.last FROM {rows} "
        "WHERE true ON CONFLICT DO NOTHING",
        Rows(
            {"partition": "integer", "first": "bigint", "last": "bigint"},
            [(partition, first, end) for partition, (first, end) in sorted(ranges.items())],
        ),
        group=group,
        topic=topic,
    )


async def end_backfill(transaction: Transaction, group: str, topic: str) -> None:
    """Forget it: begun again, it goes over the same records, and finds its effects there."""
    for table in ("backfills", "positions"):
        await transaction.run(
            f"DELETE FROM {table} WHERE consumer_group = :group AND topic = :topic", group=group, topic=topic
        )
