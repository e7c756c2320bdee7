"""Where each consumer group stands, stored in the transaction that stores the outcomes."""

from collections.abc import Mapping

from storage.database import Transaction
from storage.rows import Rows


async def positions(transaction: Transaction, group: str, topic: str) -> dict[int, int]:
    """Next offset by partition; a partition that never stored an outcome is absent."""
    rows = await transaction.run(
        "SELECT partition, next_offset FROM positions WHERE consumer_group = :group AND topic = :topic",
        group=group,
        topic=topic,
    )
    return {row.partition: row.next_offset for row in rows}


async def went_back(transaction: Transaction, group: str, topic: str, seen: Mapping[int, int]) -> bool:
    """Whether the database knows less than it once said: an older one has been put in its place."""
    stored = await positions(transaction, group, topic)
    return any(stored.get(partition, 0) < offset for partition, offset in seen.items())


async def store_positions(
    transaction: Transaction, group: str, topic: str, next_offsets: Mapping[int, int]
) -> None:
    """Move forward. Never back: a worker that lost a partition may commit after its successor, and both
    have stored the outcome of all that lies before what they say."""
    await transaction.run(
        "INSERT INTO positions (consumer_group, topic, partition, next_offset) "
        "SELECT CAST(:group AS text), CAST(:topic AS text), r.partition, r.next_offset FROM {rows} "
        "WHERE true ON CONFLICT (consumer_group, topic, partition) "
        "DO UPDATE SET next_offset = excluded.next_offset WHERE positions.next_offset < excluded.next_offset",
        Rows({"partition": "integer", "next_offset": "bigint"}, sorted(next_offsets.items())),
        group=group,
        topic=topic,
    )


async def groups_past(transaction: Transaction, topic: str) -> list[tuple[str, int, int]]:
    """Where each group stands in a topic: (group, partition, next offset)."""
    rows = await transaction.run(
        "SELECT consumer_group, partition, next_offset FROM positions WHERE topic = :topic", topic=topic
    )
    return [(row.consumer_group, row.partition, row.next_offset) for row in rows]
