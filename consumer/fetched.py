"""A batch as it came from the log, decoded."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from consumer.item import Item


class Fetched(NamedTuple):
    """A decoded batch, and the assignment and the places it belongs to."""

    epoch: int
    life: int
    items: Sequence[Item]
    next_offsets: dict[int, int]

    def before(self, index: int) -> Self:
        """Its first `index` records alone."""
        return self._of(self.items[:index])

    def after(self, index: int) -> Self:
        """All but its first `index` records."""
        return self._of(self.items[index:])

    def followed_by(self, other: Self) -> Self:
        """Both as one batch."""
        return self._of([*self.items, *other.items])

    def _of(self, items: Sequence[Item]) -> Self:
        return self._replace(items=items, next_offsets=next_offsets_of(items))


def next_offsets_of(items: Sequence[Item]) -> dict[int, int]:
    """By partition: where to go on behind these."""
    return {item.record.partition: item.record.next_offset for item in items}
