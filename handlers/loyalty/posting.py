"""What is posted for an order: the difference between what is due and what it has been given. Pure."""

from typing import NamedTuple

import msgspec

from handlers.loyalty.entitlement import Entitlement
from handlers.loyalty.facts import Key
from handlers.loyalty.reckoning import Number
from handlers.loyalty.sharing import Share

NO_POLICY = "none"
"""In place of a version, where none is in force or nothing counts any more."""


EARN, REVERSE, ADJUST = range(3)
ENTRY_KINDS = {EARN: "earn", REVERSE: "reverse", ADJUST: "adjust"}
"""What happened to an account, by its number in the table."""


class Posted(NamedTuple):
    """What an order has been given: `points` on the account of `customer_id`, by entries up to `revision`."""

    customer_id: str | None = None
    points: int = 0
    redemption_id: str | None = None
    """The deciding redemption by which they were given."""
    anonymous: bool = False
    others: str | None = None
    """Points on further accounts, as JSON: a list of account and points; None if there are none."""
    revision: int = 0


NOTHING_POSTED = Posted()


class Entry(NamedTuple):
    """One movement of one account, never edited. The order of its fields is that of the table's columns."""

    tenant: int
    key: str
    customer_id: str
    order_key: str | None
    """None, like `redemption_id`, of an entry made by hand."""
    redemption_id: str | None
    kind: int
    points: int
    policy: str
    """The version by which it was posted."""
    inputs: str
    """What the points are for, as JSON."""


class Inputs(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """As entries keep them, what is not there left out."""

    base: int | str | None
    total_discount_amount: int
    gift: int = 0
    times: str | None = None
    bonuses: int = 0
    reason: str | None = None


def entry_key_prefix(tenant: str, order_key: str) -> str:
    """What the keys of an order's entries begin with, before a colon."""
    return f"earn-order:{tenant}:{order_key}"


def standing(due: Entitlement, revision: int) -> Posted:
    """How an order stands that has exactly what is due."""
    others = msgspec.json.encode(due.others).decode() if due.others else None
    return Posted(due.customer_id, due.points, due.redemption_id, due.anonymous, others, revision)


def settle(
    order: Key, tenant: str, posted: Posted, due: Entitlement, *, restated: bool = False
) -> tuple[Posted, list[Entry]]:
    """How an order stands once it has exactly what is due, and the entries that bring it there.

    `restated`: the difference comes of another policy, not of what happened to the order.
    """
    number, order_key = order
    before, after = _accounts(posted), due.accounts
    if before == after:
        return standing(due, posted.revision), []
    revision, inputs = posted.revision + 1, inputs_of(due, restated)
    entries = []
    for account in sorted(before.keys() | after.keys()):
        had, has = before.get(account, 0), after.get(account, 0)
        if had == has:
            continue
        entries.append(
            Entry(
                number,
                f"{entry_key_prefix(tenant, order_key)}:{revision}{_suffix(account, posted, due)}",
                account,
                order_key,
                due.redemption_id if account in after else posted.redemption_id,
                ADJUST if restated else _kind(had, has),
                has - had,
                _version_of(due),
                inputs,
            )
        )
    return standing(due, revision), entries


def _version_of(due: Entitlement) -> str:
    version = due.reckoning.version if due.reckoning else None
    return version.version if version else NO_POLICY


def _accounts(stands: Posted) -> dict[str, int]:
    """Points by account, none without."""
    accounts = dict(msgspec.json.decode(stands.others, type=list[Share])) if stands.others else {}
    if stands.customer_id is not None and stands.points:
        accounts[stands.customer_id] = stands.points
    return accounts


def _suffix(account: str, posted: Posted, due: Entitlement) -> str:
    """One revision may move several accounts, and the keys of entries are unique."""
    if account == due.customer_id:
        return ""
    return ":taken" if account == posted.customer_id else f":of:{account}"


def _kind(before: int, after: int) -> int:
    if after == 0:
        return REVERSE
    return EARN if before == 0 else ADJUST


def inputs_of(due: Entitlement, restated: bool) -> str:
    """What the points were computed from, as JSON: amounts in minor units, fractions as text."""
    deciding, reckoning = due.deciding, due.reckoning
    reason = "restated" if restated else None
    discount = deciding.discount if deciding else 0
    if reckoning is None:
        inputs = Inputs(None, discount, reason=reason)
    else:
        base = None if reckoning.base is None else _plain(reckoning.base)
        times = None if reckoning.multiplier is None else str(reckoning.multiplier.times)
        inputs = Inputs(base, discount, reckoning.gift, times, reckoning.bonuses, reason)
    return msgspec.json.encode(inputs).decode()


def _plain(number: Number) -> int | str:
    return number if isinstance(number, int) else str(number)
