"""What happened to dead letters: each death, replay and discard, once a generation."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.database import Transaction
from storage.row import Row
from storage.rows import Rows
from storage.schema import LetterEvent

COLUMNS = {"letter": "text", "generation": "integer", "reason": "text", "error": "text", "job": "text"}


class Happening(NamedTuple):
    letter: str
    generation: int
    """0: the first death. Higher: that of the replay, or of the death that came of it."""
    reason: str | None = None
    """Of a death: its code."""
    error: str | None = None
    job: str | None = None
    """Which replayed or discarded it."""


async def note(transaction: Transaction, event: LetterEvent, happenings: Iterable[Happening]) -> None:
    """Write down that it happened; what is there already stays."""
    ordered = sorted(happenings, key=lambda one: (one.letter, one.generation))
    rows = Rows(COLUMNS, ordered)
    if rows:
        await transaction.run(
            "INSERT INTO letter_history (letter, generation, event, at, reason, error, job) "
            f"SELECT r.letter, r.generation, {event}, {{now}}, r.reason, r.error, r.job FROM {{rows}} "
            "WHERE true ON CONFLICT DO NOTHING",
            rows,
        )


async def history_of(transaction: Transaction, letter: str) -> Sequence[Row]:
    """Rows (at, event, generation, reason, error, job, who, why) in the order in which they happened."""
    return await transaction.run(
        "SELECT h.at, h.event, h.generation, h.reason, h.error, h.job, j.who, j.reason AS why "
        "FROM letter_history h LEFT JOIN jobs j ON j.id = h.job WHERE h.letter = :letter "
        "ORDER BY h.generation, h.event",
        letter=letter,
    )
