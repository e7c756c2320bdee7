"""Puts dead letters back on the events topic: the raw record again, addressed to the handler that failed."""

import asyncio
from collections.abc import Callable, Sequence

from broker.protocols import Producer
from consumer.item import REPLAY_GENERATION, REPLAY_GROUP, REPLAY_HANDLER, REPLAY_LETTER
from consumer.letter_record import original_headers
from storage.database import Database
from storage.dead_letters import StoredLetter, load_letters, mark_replayed

CHUNK = 200


async def replay_letters(
    database: Database,
    producer: Producer,
    topic: str,
    ids: Sequence[str],
    published: Callable[[int], None] = lambda count: None,
) -> int:
    """Append the letters' records to `topic`, then mark them replayed; returns how many were.

    A crash between the two leaves a letter open: replaying it again is the same generation, and a record of
    a generation that was worked on already changes nothing. Letters that are not open are passed over.
    Raises Unavailable.
    """
    total = 0
    for start in range(0, len(ids), CHUNK):
        async with database.snapshot() as snapshot:
            letters = await load_letters(snapshot, ids[start : start + CHUNK], only_open=True)
        await asyncio.gather(*(_append(producer, topic, letter) for letter in letters.values()))
        async with database.transaction() as transaction:
            total += await mark_replayed(
                transaction, [(letter.id, letter.replays + 1) for letter in letters.values()]
            )
        published(total)
    return total


async def _append(producer: Producer, topic: str, letter: StoredLetter) -> None:
    headers = [
        *original_headers(letter.headers),
        (REPLAY_LETTER, letter.id.encode()),
        (REPLAY_GENERATION, str(letter.replays + 1).encode()),
        (REPLAY_GROUP, letter.consumer_group.encode()),
    ]
    if letter.handler is not None:
        headers.append((REPLAY_HANDLER, letter.handler.encode()))
    await producer.append(topic, letter.value, key=letter.key, headers=headers)
