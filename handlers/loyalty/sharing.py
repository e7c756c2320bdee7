"""Who gets an order's points. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from handlers.loyalty.details import parsed
from handlers.loyalty.facts import Facts
from handlers.loyalty.policy import Beneficiary, Version
from handlers.loyalty.reckoning import Number, Reckoning, rounded

ROLES = {
    Beneficiary.CUSTOMER: (Beneficiary.CUSTOMER,),
    Beneficiary.HOLDER: (Beneficiary.HOLDER,),
    Beneficiary.BOTH: (Beneficiary.CUSTOMER, Beneficiary.HOLDER),
}


class Share(NamedTuple):
    """Points of an order for one account."""

    customer_id: str
    points: int


def main_account(version: Version | None, deciding: Facts, all_of_them: Sequence[Facts]) -> str | None:
    """Whom an order belongs to; None while nobody is known who could get its points."""
    owners = (_owner(role, deciding, all_of_them) for role in roles_of(version))
    return next((owner for owner in owners if owner is not None), None)


def shares_of(reckoning: Reckoning, deciding: Facts, live: Sequence[Facts]) -> tuple[Share, ...]:
    """By account. Each role gets the order's points in full, up to the cap per order; one rounding each.

    With several redemptions the deciding one fills the cap first, then the others by id.
    """
    version = reckoning.version
    owners = {role: _owner(role, deciding, live) for role in roles_of(version)}
    due: dict[str, Number] = {}
    for role in owners:
        room: Number | None = None if version is None else version.max_points_per_order
        for earning in reckoning.earnings:
            account = _recipient(role, earning.facts, owners)
            if account is None:
                continue
            points = earning.points if room is None else min(earning.points, room)
            room = None if room is None else room - points
            due[account] = due.get(account, 0) + points
    return tuple(Share(account, rounded(version, due[account])) for account in sorted(due))


def roles_of(version: Version | None) -> tuple[Beneficiary, ...]:
    return ROLES[Beneficiary.CUSTOMER if version is None else version.beneficiary]


def _recipient(role: Beneficiary, facts: Facts, owners: Mapping[Beneficiary, str | None]) -> str | None:
    """Who gets what one redemption brings: its own, else the order's. One person gets it once."""
    account = _account(role, facts) or owners[role]
    if role is Beneficiary.HOLDER and Beneficiary.CUSTOMER in owners:
        return None if account == _recipient(Beneficiary.CUSTOMER, facts, owners) else account
    return account


def _owner(role: Beneficiary, deciding: Facts, all_of_them: Sequence[Facts]) -> str | None:
    """The deciding redemption's, else that of the first by id that has one."""
    own = _account(role, deciding)
    if own is not None or len(all_of_them) == 1:
        return own
    known = sorted(
        (facts.redemption_id, account) for facts in all_of_them if (account := _account(role, facts))
    )
    return known[0][1] if known else None


def _account(role: Beneficiary, facts: Facts) -> str | None:
    if role is Beneficiary.CUSTOMER:
        return facts.customer_id
    holder: str | None = parsed(facts.details).get("holder")
    return holder
