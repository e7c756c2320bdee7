"""Puts dead letters back on the events topic: the raw record again, addressed to the handler that failed."""

import asyncio
from collections.abc import Collection, Mapping

from broker.protocols import Producer, TooLarge
from consumer.item import REPLAY_GENERATION, REPLAY_GROUP, REPLAY_HANDLER, REPLAY_LETTER
from consumer.letter_record import original_headers
from events.failures import Unavailable
from storage.dead_letters import Letter

PUBLISH_SECONDS = 20.0
"""How long the log may take for a handful of letters. Shorter than a lease: who cannot publish is not taken
for dead."""


async def publish(producer: Producer, topic: str, letters: Collection[Letter]) -> Mapping[str, bool]:
    """Append the letters' records; returns by id whether the log has it, False for one that is too large.

    Raises Unavailable: then some may be there. Published again they are the same generation, and a record of
    a generation that was worked on already changes nothing.
    """
    try:
        async with asyncio.timeout(PUBLISH_SECONDS):
            taken = await asyncio.gather(*(_append(producer, topic, letter) for letter in letters))
    except TimeoutError as late:
        raise Unavailable("log_unavailable", f"the log did not answer for {PUBLISH_SECONDS:g} s") from late
    return {letter.id: fits for letter, fits in zip(letters, taken, strict=True)}


async def _append(producer: Producer, topic: str, letter: Letter) -> bool:
    headers = [
        *original_headers(letter.headers),
        (REPLAY_LETTER, letter.id.encode()),
        (REPLAY_GENERATION, str(letter.replays + 1).encode()),
        (REPLAY_GROUP, letter.consumer_group.encode()),
    ]
    if letter.handler is not None:
        headers.append((REPLAY_HANDLER, letter.handler.encode()))
    try:
        await producer.append(topic, letter.value, key=letter.key, headers=headers)
    except TooLarge:
        return False
    return True
