"""The arithmetic of one order's points, each step kept, so that explaining is showing. Pure, no floats.

In this order: base, steps or proportion, multiplier, bonuses, cap per redemption and per order, one rounding.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from handlers.loyalty.conditions import meets
from handlers.loyalty.details import Details, parsed
from handlers.loyalty.facts import Facts
from handlers.loyalty.policy import LARGEST, Base, Bonus, Multiplier, Policy, Rounding, Version

Number = int | Fraction
ROUNDINGS: dict[Rounding, Callable[[Number], int]] = {
    Rounding.WHOLE_STEPS: math.floor,
    Rounding.FLOOR: math.floor,
    Rounding.HALF_UP: lambda points: math.floor(points + Fraction(1, 2)),
    Rounding.HALF_EVEN: round,
}


class Earning(Struct, frozen=True, gc=False):
    """What one redemption brings its order."""

    facts: Facts
    points: Number
    """The accrual, if it decides, and its bonuses; capped, not rounded."""
    bonuses: tuple[Bonus, ...] = ()
    cap: int | None = None
    """The most that one redemption brings, if that was less."""


class Reckoning(Struct, frozen=True, gc=False):
    """How an order's points come about. The order's own version rules all but bonuses and their cap."""

    version: Version | None
    """None: the deciding redemption is older than the first version, so its order earns nothing."""
    base: Number | None
    gift: int = 0
    """Credits of gift cards that count as paid, part of the base where that is the total."""
    below_minimum: bool = False
    rated: Number = 0
    """Points of the base before any multiplier."""
    multiplier: Multiplier | None = None
    accrued: Number = 0
    """The same after it."""
    earnings: tuple[Earning, ...] = ()
    """The deciding redemption's first, then those of the others with a bonus, by id."""

    @property
    def bonuses(self) -> int:
        """Points of all fixed bonuses together."""
        points = 0
        for earning in self.earnings:
            for bonus in earning.bonuses:
                points += bonus.points
        return points


def reckon(deciding: Facts, live: Sequence[Facts], policy: Policy) -> Reckoning:
    """The points of an order of these live redemptions, of which one decides."""
    version = policy.version_at(deciding.date)
    if version is None:
        return Reckoning(None, None, earnings=_earnings(deciding, live, policy, 0))
    gift = _gift(live) if version.gift_credits_count else 0
    base = base_of(version, deciding, gift)
    below = version.minimum_order > 0 and (deciding.base or 0) + gift < version.minimum_order
    rated = 0 if below or base is None else _rated(version, base)
    multiplier = _multiplier(version, live) if version.multipliers else None
    accrued = rated if multiplier is None else _simple(rated * Fraction(multiplier.times))
    earnings = _earnings(deciding, live, policy, accrued)
    return Reckoning(version, base, gift, below, rated, multiplier, accrued, earnings)


def rounded(version: Version | None, points: Number) -> int:
    """The one rounding. A balance stays within what JSON carries."""
    rounding = Rounding.FLOOR if version is None else version.rounding
    return min(points if isinstance(points, int) else ROUNDINGS[rounding](points), LARGEST)


def excluded(facts: Facts, policy: Policy) -> bool:
    """Whether a rule of its own date's version keeps a redemption from counting: this decides who decides."""
    if not policy.excludes:
        return False
    version = policy.version_at(facts.date)
    if version is None:
        return False
    details = parsed(facts.details)
    return any(meets(exclusion, facts, details) for exclusion in version.exclusions)


def _rated(version: Version, base: Number) -> Number:
    if base <= 0:
        return 0
    if version.rounding is Rounding.WHOLE_STEPS:
        return int(base // version.every) * version.points
    return _simple(Fraction(base) * version.points / version.every)


def base_of(version: Version, deciding: Facts, gift: int = 0) -> Number | None:
    """What the points are for, in the unit of the policy's base; None if it is not known."""
    match version.base:
        case Base.TOTAL_AMOUNT:
            return None if deciding.base is None else deciding.base + gift
        case Base.AMOUNT:
            return deciding.amount
    details = parsed(deciding.details)
    match version.base:
        case Base.DISCOUNT:
            discount: int = details.get("discount", 0)
            return discount
        case Base.ITEMS:
            return _items(version, details)
        case Base.ORDER_METADATA:
            number = details.get(f"order.number.{version.metadata_key}")
        case Base.CUSTOMER_METADATA:
            number = details.get(f"customer.number.{version.metadata_key}")
    return None if number is None else _simple(Fraction(Decimal(number)))


def _items(version: Version, details: Details) -> int | None:
    told = details.get(f"items.{version.items.figure}")
    if told is None:
        return None
    lists = (version.items.product_ids, version.items.sku_ids, version.items.source_ids)
    return sum(
        figure or 0
        for *ids, figure in told
        if not any(lists) or any(id in named for id, named in zip(ids, lists, strict=True))
    )


def _gift(live: Sequence[Facts]) -> int:
    paid = (parsed(facts.details).get("gift", 0) for facts in live if facts.voucher_type == "GIFT_VOUCHER")
    return sum(paid)


def _multiplier(version: Version, live: Sequence[Facts]) -> Multiplier | None:
    """A stack's parent has no campaign, its children have: any redemption of the order may meet the rule."""
    told = [(facts, parsed(facts.details)) for facts in live]
    for multiplier in version.multipliers:
        if any(meets(multiplier, *each) for each in told):
            return multiplier
    return None


def _earnings(deciding: Facts, live: Sequence[Facts], policy: Policy, accrued: Number) -> tuple[Earning, ...]:
    first = _earning(deciding, policy, accrued)
    if len(live) == 1:
        return (first,)
    others = sorted((facts for facts in live if facts is not deciding), key=lambda facts: facts.redemption_id)
    return (first, *(earning for facts in others if (earning := _earning(facts, policy, 0)).points))


def _earning(facts: Facts, policy: Policy, accrued: Number) -> Earning:
    """A bonus belongs to its redemption, so the version of its own date has it."""
    version = policy.version_at(facts.date)
    if version is None:
        return Earning(facts, accrued)
    bonuses: tuple[Bonus, ...] = ()
    if version.bonuses:
        details = parsed(facts.details)
        bonuses = tuple(bonus for bonus in version.bonuses if meets(bonus, facts, details))
    points = accrued + sum(bonus.points for bonus in bonuses)
    cap = version.max_points_per_redemption
    if cap is not None and points > cap:
        return Earning(facts, cap, bonuses, cap)
    return Earning(facts, points, bonuses)


def _simple(number: Fraction) -> Number:
    """Whole numbers as int."""
    return number.numerator if number.denominator == 1 else number
