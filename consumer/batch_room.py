"""How much fits into a batch: so many records, and so many bytes, as far as one can tell before they come."""

from collections.abc import Sequence

from broker.protocols import Record

TAKEN_AT_ONCE = 200
"""Records. As large as they may be, so many more than expected must fit into the memory."""
BATCH_BYTES = 6 * 2**20
"""Of bodies, after which nothing more is added. Two batches are held, decoded, several times as large as they
came; two thousand bodies of the largest size would fill any memory."""


class BatchRoom:
    """Owns the size of the batch that is being fetched."""

    def __init__(self, max_records: int) -> None:
        self._max_records = max_records
        self._records = 0
        self._bytes = 0
        self._mean = float(BATCH_BYTES)
        """Bytes of a body, of those that came last; before any came, as if one were a batch."""

    def begin(self) -> None:
        """Another batch."""
        self._records = self._bytes = 0

    @property
    def next(self) -> int:
        """How many records to take next; 0: it is full."""
        if self._bytes >= BATCH_BYTES:
            return 0
        fitting = int((BATCH_BYTES - self._bytes) / max(self._mean, 1.0))
        return min(TAKEN_AT_ONCE, self._max_records - self._records, max(1, fitting))

    def took(self, records: Sequence[Record]) -> None:
        if records:
            bytes_ = sum(len(record.value) for record in records)
            self._mean = bytes_ / len(records)
            self._bytes += bytes_
            self._records += len(records)
