"""Why an order has its points: the arithmetic done again from facts and policy, step by step."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from msgspec import Struct

from handlers.loyalty.details import parsed
from handlers.loyalty.entitlement import Entitlement, Member, entitlement
from handlers.loyalty.fact_store import members_of_orders
from handlers.loyalty.facts import Facts
from handlers.loyalty.oddities import conflicting
from handlers.loyalty.policy import Policy, Rounding, Version
from handlers.loyalty.reckoning import Number, Reckoning, excluded
from handlers.loyalty.report import ReportedEntry, entries
from storage.database import Transaction


class Told(Struct, frozen=True):
    """A redemption as it is known, and what it is to its order."""

    facts: dict[str, Any]
    standing: str


class Explanation(Struct, frozen=True):
    tenant: str
    order_key: str
    redemptions: list[Told]
    deciding: str | None
    version: str | None
    steps: list[str]
    points: dict[str, int]
    """What is due, by account."""
    entries: list[ReportedEntry]
    """What was posted."""


async def explain(transaction: Transaction, tenant: str, id: str, policy: Policy) -> Explanation | None:
    """Of the order with this key, or that this redemption belongs to; None if neither is known."""
    number = transaction.names.find(tenant)
    rows = await transaction.run(
        "SELECT order_key FROM facts "
        "WHERE tenant = :tenant AND redemption_id = :id AND order_key IS NOT NULL",
        tenant=number,
        id=id,
    )
    if number is None:
        return None
    order_key = rows[0].order_key if rows else id
    members = (await members_of_orders(transaction, [(number, order_key)]))[number, order_key]
    posted = [entry async for entry in entries(transaction, tenant, order=order_key)]
    if not members and not posted:
        return None
    return explained(tenant, order_key, members, policy, posted)


def explained(
    tenant: str, order_key: str, members: Sequence[Member], policy: Policy, posted: list[ReportedEntry]
) -> Explanation:
    due = entitlement(members, policy)
    version = due.reckoning.version if due.reckoning else None
    accounts = [*due.others, *([(due.customer_id, due.points)] if due.customer_id else [])]
    return Explanation(
        tenant=tenant,
        order_key=order_key,
        redemptions=[
            Told(_known(member.facts), _standing(member, due, policy))
            for member in sorted(members, key=lambda member: member.facts.redemption_id)
        ],
        deciding=due.redemption_id,
        version=version.version if version else None,
        steps=list(_steps(due)),
        points={account: points for account, points in accounts if account is not None},
        entries=posted,
    )


YES_OR_NO = {field.name for field in msgspec.structs.fields(Facts) if field.type is bool}
"""SQLite gives 1 for true."""


def _known(facts: Facts) -> dict[str, Any]:
    """What deliveries told; absent fields left out."""
    told = {
        name: True if name in YES_OR_NO else value
        for name, value in msgspec.structs.asdict(facts).items()
        if value not in (None, False)
    }
    if facts.details is not None:
        told["details"] = parsed(facts.details)
    if facts.conflicts:
        told["conflicts"] = conflicting(facts.conflicts)
    return told


def _standing(member: Member, due: Entitlement, policy: Policy) -> str:
    if member.facts.bar is not None:
        return f"does not count: {member.facts.bar}"
    if excluded(member.facts, policy):
        return "does not count: an exclusion of the policy meets it"
    if not member.live:
        return "reversed" if member.facts.reversed else "reversed with its stack's parent"
    return "decides" if member.facts.redemption_id == due.redemption_id else "counts, another one decides"


def _steps(due: Entitlement) -> Iterator[str]:
    if due.deciding is None or due.reckoning is None:
        yield "no redemption counts and is live: no points"
        return
    deciding, reckoning, version = due.deciding, due.reckoning, due.reckoning.version
    rank = "stack parent, " if deciding.is_stack_parent else ""
    yield f"{deciding.redemption_id} decides: {rank}total discount {deciding.discount}, base {deciding.base}"
    if version is None:
        yield "its date is before the first version of the policy: no points of its base"
    else:
        yield f"version {version.version} is in force {_dated(deciding)}"
        yield from _accrual(version, reckoning)
    for earning in reckoning.earnings:
        for bonus in earning.bonuses:
            yield f"{earning.facts.redemption_id} meets the bonus {bonus.name}: {bonus.points:+d}"
        if earning.cap is not None:
            yield f"{earning.facts.redemption_id} brings at most {earning.cap} points"
    if version is not None and version.max_points_per_order is not None:
        yield f"an order brings at most {version.max_points_per_order} points"
    if due.customer_id is None:
        yield "nobody is known to give them to: no points"
        return
    rounding = Rounding.FLOOR if version is None else version.rounding
    for account, points in ((due.customer_id, due.points), *due.others):
        yield f"{account} gets {points} ({rounding})"


def _accrual(version: Version, reckoning: Reckoning) -> Iterator[str]:
    if reckoning.base is None:
        yield f"base {version.base}: unknown, no points of it"
        return
    yield f"base {version.base}: {_shown(reckoning.base)} minor units, {_major(reckoning.base, version)}"
    if reckoning.gift:
        yield f"credits of gift cards count as paid: {reckoning.gift}"
    if reckoning.below_minimum:
        yield f"the order is below its minimum of {version.minimum_order}: no points of its base"
        return
    yield f"{version.points} for each {version.every}: {_shown(reckoning.rated)}"
    if reckoning.multiplier is not None:
        rule = reckoning.multiplier
        yield f"the multiplier {rule.name} times {rule.times}: {_shown(reckoning.accrued)}"


def _dated(facts: Facts) -> str:
    return "for an unknown date: the earliest" if facts.date is None else "at its date"


def _major(base: Number, version: Version) -> str:
    whole = Fraction(base) / 10**version.currency_exponent
    amount = Decimal(whole.numerator) / Decimal(whole.denominator)
    return f"{amount:.{version.currency_exponent}f} in whole units of the currency"


def _shown(number: Number) -> str:
    return str(number)
