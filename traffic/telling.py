"""What one delivery tells, before it is put into bytes, and what it must come to."""

from typing import NamedTuple


class Telling(NamedTuple):
    """What a readable delivery says of one redemption; None: it does not say. Amounts are minor units."""

    redemption: str
    success: bool = False
    rollback: bool = False
    order: str | None = None
    parent: str | None = None
    """The stack's parent, of a child."""
    customer: str | None = None
    amount: int | None = None
    total: int | None = None
    discount: int | None = None
    """All discounts of the order so far."""
    type: str | None = None
    """The voucher's type."""
    channel: str | None = None
    status: str | None = None
    """The order's status."""
    voucher: bool = False
    tier: bool = False
    reward: bool = False

    @property
    def kind(self) -> str:
        if self.rollback:
            return "rolled_back"
        return "succeeded" if self.success else "failed"


class Delivery(NamedTuple):
    """One request body. Without a telling and without a letter it leaves nothing behind."""

    body: bytes
    story: int
    """Deliveries of one story are about the same order."""
    telling: Telling | None = None
    malformed: str | None = None
    """The reason code of its dead letter when nobody can read it."""
    refused: str | None = None
    """The reason code of its dead letter when only the ledger refuses it."""


class Story(NamedTuple):
    """What happened to one order, and the points that it leaves on one account."""

    deliveries: tuple[Delivery, ...]
    customer: str
    points: int = 0
