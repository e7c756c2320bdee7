"""How far the held partitions have come: what was fetched, and what is settled."""

from collections.abc import Mapping


class Places:
    """The next offsets of the partitions that are placed under the current assignment."""

    def __init__(self) -> None:
        self.epoch = 0
        self.fetched: dict[int, int] = {}
        self.settled: dict[int, int] = {}

    def begin(self, epoch: int) -> None:
        """A new assignment: nothing is placed yet."""
        self.epoch = epoch
        self.lose()

    def lose(self) -> None:
        """All are to be placed anew."""
        self.fetched, self.settled = {}, {}

    def place(self, partition: int, start: int) -> None:
        self.fetched[partition] = self.settled[partition] = start

    def note_fetched(self, epoch: int, next_offsets: Mapping[int, int]) -> None:
        if epoch == self.epoch:
            self.fetched.update(next_offsets)

    def note_settled(self, epoch: int, next_offsets: Mapping[int, int]) -> None:
        if epoch == self.epoch:
            self.settled.update({p: offset for p, offset in next_offsets.items() if p in self.settled})
