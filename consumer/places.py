"""How far the held partitions have come: what was fetched, and what is settled."""

from collections.abc import Mapping


class Places:
    """The next offsets of the partitions that are placed under the current assignment."""

    def __init__(self) -> None:
        self.epoch = 0
        self.life = 0
        """Counts up whenever the places are lost: what was fetched before is not to be settled."""
        self.fetched: dict[int, int] = {}
        self.settled: dict[int, int] = {}
        self.stored: dict[int, int] = {}
        """What the database said it had stored, or took from us."""

    def begin(self, epoch: int) -> None:
        """A new assignment: nothing is placed yet."""
        self.epoch = epoch
        self.lose()

    def lose(self) -> None:
        """All are to be placed anew."""
        self.life += 1
        self.fetched, self.settled, self.stored = {}, {}, {}

    def place(self, partition: int, start: int, stored: int) -> None:
        self.fetched[partition] = self.settled[partition] = start
        self.stored[partition] = stored

    def note_fetched(self, epoch: int, life: int, next_offsets: Mapping[int, int]) -> None:
        if (epoch, life) == (self.epoch, self.life):
            self.fetched.update(next_offsets)

    def note_settled(self, epoch: int, life: int, next_offsets: Mapping[int, int]) -> None:
        if (epoch, life) == (self.epoch, self.life):
            settled = {p: offset for p, offset in next_offsets.items() if p in self.settled}
            self.settled.update(settled)
            self.stored.update(settled)
