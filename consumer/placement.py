"""Where to start reading a partition: never past what the database knows, nor silently past what was lost."""

from broker.protocols import Bounds
from events.failures import Misconfigured


def start_of(stored: int | None, committed: int | None, bounds: Bounds) -> int:
    """The offset to read first; raises Misconfigured when going on would hide a loss.

    `stored` is the database's position, `committed` the group's offset in the log. The smaller counts: a
    database restored from a backup stands behind the log's offset and catches up by itself. A database that
    knows nothing of a partition starts at its beginning, and has to store that it did.
    """
    if stored is None:
        return bounds.start
    if stored > bounds.end:
        raise Misconfigured(
            "position_beyond_log",
            f"the database has stored everything before offset {stored}, but the log ends at {bounds.end}: "
            "it was emptied, recreated or restored; see docs/operations.md",
        )
    start = stored if committed is None else min(stored, committed)
    if stored < bounds.start:
        raise Misconfigured(
            "records_lost",
            f"records {stored} to {bounds.start - 1} were deleted by the log's retention before they were "
            "processed; see docs/operations.md",
        )
    return max(start, bounds.start)
