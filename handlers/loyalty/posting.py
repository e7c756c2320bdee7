"""What is posted for an order: the difference between what is due and what it has been given. Pure."""

from enum import IntEnum
from typing import NamedTuple

import msgspec

from handlers.loyalty import policy
from handlers.loyalty.entitlement import Entitlement


class EntryKind(IntEnum):
    """What happened to an account, as its number in the table."""

    EARN = 0
    REVERSE = 1
    ADJUST = 2


class Posted(NamedTuple):
    """What an order has been given: `points` on the account of `customer_id`, by entries up to `revision`."""

    customer_id: str | None = None
    points: int = 0
    redemption_id: str | None = None
    """The deciding redemption by which they were given."""
    anonymous: bool = False
    revision: int = 0


class Entry(NamedTuple):
    """One movement of one account, never edited."""

    key: str
    customer_id: str
    order_key: str
    redemption_id: str
    kind: EntryKind
    points: int
    policy: str
    inputs: str
    """What the points are for, as JSON."""


class Move(NamedTuple):
    """An account's points for one order, before and after."""

    customer_id: str | None
    redemption_id: str | None
    before: int
    after: int

    @property
    def kind(self) -> EntryKind:
        if self.after == 0:
            return EntryKind.REVERSE
        return EntryKind.EARN if self.before == 0 else EntryKind.ADJUST


def entry_key_prefix(tenant: str, order_key: str) -> str:
    """What the keys of an order's entries begin with, before a colon."""
    return f"earn-order:{tenant}:{order_key}"


def settle(tenant: str, order_key: str, posted: Posted, due: Entitlement) -> tuple[Posted, list[Entry]]:
    """How an order stands once it has exactly what is due, and the entries that bring it there."""
    revision = posted.revision + 1
    entries = [
        Entry(
            key=f"{entry_key_prefix(tenant, order_key)}:{revision}{suffix}",
            customer_id=move.customer_id,
            order_key=order_key,
            redemption_id=move.redemption_id,
            kind=move.kind,
            points=move.after - move.before,
            policy=policy.VERSION,
            inputs=_inputs(due),
        )
        for suffix, move in _moves(posted, due)
        if move.customer_id and move.redemption_id and move.before != move.after
    ]
    standing = Posted(due.customer_id, due.points, due.redemption_id, due.anonymous)
    return standing._replace(revision=revision if entries else posted.revision), entries


def _moves(posted: Posted, due: Entitlement) -> list[tuple[str, Move]]:
    """With what makes their keys differ: one revision may take from one account and give to another."""
    if posted.customer_id == due.customer_id:
        return [("", Move(due.customer_id, due.redemption_id, posted.points, due.points))]
    return [
        (":taken", Move(posted.customer_id, posted.redemption_id, posted.points, 0)),
        ("", Move(due.customer_id, due.redemption_id, 0, due.points)),
    ]


def _inputs(due: Entitlement) -> str:
    return msgspec.json.encode({"base": due.base, "total_discount_amount": due.discount}).decode()
