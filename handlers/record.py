"""Failed redemptions and failed rollbacks are remembered as effects of their own, and act on nothing."""

from collections.abc import Sequence

from events.event import Kind, RedemptionEvent
from handlers.protocol import Verdicts
from storage.database import Transaction


class Record:
    """A transactional handler whose only effect is the worker's own mark."""

    name = "record"
    kinds = (Kind.FAILED,)
    keeps_marks = False
    keeps_ids_only = True

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        return {}
