"""Points given or taken by hand: one entry a key, with who did it and why."""

import re
from typing import NamedTuple

import msgspec

from events.failures import Refused
from handlers.loyalty.account_store import moves_of, post
from handlers.loyalty.posting import ADJUST, Entry
from handlers.loyalty.readings import LARGEST_AMOUNT, UNPRINTABLE, id_of
from storage.audit import Deed, announce, conclude
from storage.database import Database, Transaction

BY_HAND = "by hand"
"""In place of the policy's version."""
ACTION = "ledger adjust"
LONGEST_REASON = 1_000
TENANT = re.compile(r"[a-z0-9-]{1,63}")


class Adjustment(NamedTuple):
    """`points` for or from `customer_id`; `key` tells one adjustment from another for ever."""

    tenant: str
    customer_id: str
    points: int
    reason: str
    key: str

    @property
    def entry_key(self) -> str:
        return f"adjust:{self.tenant}:{self.key}"


def check(adjustment: Adjustment) -> None:
    """Raises Refused for what cannot be stored."""
    if not TENANT.fullmatch(adjustment.tenant):
        raise Refused("unfit_tenant", "the tenant is not a name of 1 to 63 of a-z, 0-9 and -")
    id_of(adjustment.customer_id, "unfit_customer_id", "the customer's id")
    id_of(adjustment.key, "unfit_key", "the key")
    if not 0 < abs(adjustment.points) <= LARGEST_AMOUNT:
        raise Refused("unfit_amount", "points must not be 0, nor beyond 2^53")
    reason = adjustment.reason
    if not reason.strip() or len(reason) > LONGEST_REASON or UNPRINTABLE.search(reason):
        raise Refused("unfit_reason", f"the reason is no line of 1 to {LONGEST_REASON} characters")


async def adjust(database: Database, adjustment: Adjustment, who: str) -> bool:
    """Post it, unless it is there; returns whether it is new. Raises Refused if its key means another.

    Broken off between audit and posting, the same once more completes it.
    """
    check(adjustment)
    deed = Deed(
        key=adjustment.entry_key,
        who=who,
        action=ACTION,
        what={"points": adjustment.points},
        reason=adjustment.reason,
        tenant=adjustment.tenant,
        subject=adjustment.customer_id,
    )
    announced = await announce(database, deed)
    async with database.transaction() as transaction:
        if not announced:
            await _require_same(transaction, adjustment)
        # The row that decides: a second one with the same key waits here, and then finds it.
        if not await conclude(transaction, deed, {"points": adjustment.points}):
            return False
        await _post(transaction, adjustment, who)
        return True


async def _post(transaction: Transaction, adjustment: Adjustment, who: str) -> None:
    await transaction.learn({adjustment.tenant})
    entry = Entry(
        tenant=transaction.names.id(adjustment.tenant),
        key=adjustment.entry_key,
        customer_id=adjustment.customer_id,
        order_key=None,
        redemption_id=None,
        kind=ADJUST,
        points=adjustment.points,
        policy=BY_HAND,
        inputs=msgspec.json.encode({"reason": adjustment.reason, "who": who}).decode(),
    )
    await post(transaction, moves_of([entry]))


async def _require_same(transaction: Transaction, adjustment: Adjustment) -> None:
    rows = await transaction.run(
        "SELECT subject, content, reason, who FROM audit WHERE key = :key", key=adjustment.entry_key
    )
    points = msgspec.json.decode(rows[0].content)["points"]
    known = Adjustment(adjustment.tenant, rows[0].subject, points, rows[0].reason, adjustment.key)
    if known != adjustment:
        raise Refused(
            "key_taken",
            f"the key {known.key} was used by {rows[0].who} for {known.customer_id}: {points:+d} points, "
            f"{known.reason}",
        )
