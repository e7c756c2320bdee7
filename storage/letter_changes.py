"""What operators' work does to dead letters: replayed, or discarded."""

from collections.abc import Iterable, Sequence

from events.event import Kind
from storage.database import Transaction
from storage.effects import Mark, discard_effects
from storage.letter_history import Happening, note
from storage.row import Row
from storage.rows import Rows
from storage.schema import KIND_NUMBERS, LetterEvent, LetterState

GENERATIONS = {"id": "text", "generation": "integer"}


async def mark_replayed(transaction: Transaction, published: Iterable[tuple[str, int]], job: str) -> None:
    """Letters (id, generation) whose replay record is in the log.

    One that has died again in that generation already stays open: the worker was quicker than we.
    """
    ordered = sorted(published)
    await transaction.run(
        f"UPDATE dead_letters SET state = {LetterState.REPLAYED} FROM {{rows}} WHERE dead_letters.id = r.id "
        f"AND dead_letters.state <> {LetterState.REPLAYED} AND dead_letters.replays < r.generation",
        Rows(GENERATIONS, ordered),
    )
    happenings = [Happening(id_, generation, job=job) for id_, generation in ordered]
    await note(transaction, LetterEvent.REPLAYED, happenings)


async def discard_letters(transaction: Transaction, chosen: Iterable[tuple[str, int]], job: str) -> set[str]:
    """Discard the letters (id, generation) still open, with their dead effects; returns their ids."""
    open_ = await transaction.run(
        "SELECT d.id, d.tenant, d.redemption_id, d.kind, d.handler, d.replays FROM {rows} "
        f"JOIN dead_letters d ON d.id = r.id WHERE d.state = {LetterState.OPEN} "
        "AND d.replays = r.generation ORDER BY d.id",
        Rows(GENERATIONS, sorted(chosen)),
    )
    # Effects before letters, as workers lock them. A letter that dies again meanwhile is no longer of the
    # generation that we saw, nor is its effect: then neither changes.
    await discard_effects(transaction, _effects(transaction, open_))
    rows = await transaction.run(
        f"UPDATE dead_letters SET state = {LetterState.DISCARDED} FROM {{rows}} WHERE dead_letters.id = r.id "
        f"AND dead_letters.state = {LetterState.OPEN} AND dead_letters.replays = r.generation "
        "RETURNING dead_letters.id, dead_letters.replays",
        Rows(GENERATIONS, [(row.id, row.replays) for row in open_]),
    )
    discarded = {row.id: row.replays for row in rows}
    happenings = [Happening(id_, generation, job=job) for id_, generation in discarded.items()]
    await note(transaction, LetterEvent.DISCARDED, happenings)
    return set(discarded)


def _effects(transaction: Transaction, letters: Sequence[Row]) -> dict[Mark, int]:
    """The effects behind these letters, as far as they can have one, with the letters' generations."""
    found: dict[Mark, int] = {}
    for row in letters:
        if row.handler is None or row.redemption_id is None or row.kind is None:
            continue
        tenant, handler = transaction.names.find(row.tenant), transaction.names.find(row.handler)
        if tenant is not None and handler is not None:
            mark = Mark(tenant, row.redemption_id, handler, KIND_NUMBERS[Kind(row.kind)])
            found[mark] = max(found.get(mark, 0), row.replays)
    return found
