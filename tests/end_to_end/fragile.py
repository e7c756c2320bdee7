"""A transactional handler that a bad deployment breaks: with FRAGILE_BROKEN it fails for everything."""

import os
from collections.abc import Collection, Sequence

from events.event import Kind, RedemptionEvent
from handlers.protocol import Verdicts
from storage.database import Transaction


class Fragile:
    name = "fragile"
    kinds: Collection[Kind] = (Kind.SUCCEEDED,)
    keeps_marks = False

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        if "FRAGILE_BROKEN" in os.environ:
            raise AttributeError("a slip of the pen")
        return {}
