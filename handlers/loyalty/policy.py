"""The points policy as data: versions in time, each with its base, rate, rules and caps."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST = 2**53

Label = Annotated[str, Meta(min_length=1, max_length=255)]
Whole = Annotated[int, Meta(ge=0, le=LARGEST)]
Moment = Annotated[datetime, Meta(tz=True)]
Value = str | bool | int
Metadata = dict[Label, Value | tuple[Value, ...]]


class Base(StrEnum):
    """What an order's points are for."""

    TOTAL_AMOUNT = "total_amount"
    AMOUNT = "amount"
    ITEMS = "items"
    DISCOUNT = "discount"
    ORDER_METADATA = "order_metadata"
    CUSTOMER_METADATA = "customer_metadata"


class Rounding(StrEnum):
    """Whole steps of `every` before anything else; or exact to the end, then floor, half up or half even."""

    WHOLE_STEPS = "whole_steps"
    FLOOR = "floor"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


class Beneficiary(StrEnum):
    """Who gets the points: who redeemed, who owns the code, or each of them the same."""

    CUSTOMER = "customer"
    HOLDER = "holder"
    BOTH = "both"


class Figure(StrEnum):
    """Which figure of an order's item counts: before or after the item's own discounts."""

    AMOUNT = "amount"
    SUBTOTAL_AMOUNT = "subtotal_amount"


class Items(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which items a base of items adds up: those that any list names; with no list, all."""

    figure: Figure = Figure.AMOUNT
    product_ids: tuple[Label, ...] = ()
    sku_ids: tuple[Label, ...] = ()
    source_ids: tuple[Label, ...] = ()


class Condition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which redemptions a rule is for: all that is given must hold, of a list any one value."""

    name: Label = "unnamed"
    campaign_ids: tuple[Label, ...] = ()
    campaign_names: tuple[Label, ...] = ()
    campaign_types: tuple[Label, ...] = ()
    campaign_categories: tuple[Label, ...] = ()
    voucher_types: tuple[Label, ...] = ()
    order_metadata: Metadata = {}
    customer_metadata: Metadata = {}
    from_: Moment | None = msgspec.field(name="from", default=None)
    until: Moment | None = None
    """The redemption's date lies at or after `from` and before `until`."""

    @property
    def details(self) -> set[str]:
        """The details that it asks for (handlers.loyalty.details)."""
        asked = {
            "campaign.id": self.campaign_ids,
            "campaign.name": self.campaign_names,
            "campaign.type": self.campaign_types,
            "campaign.category": self.campaign_categories,
            "campaign.category_id": self.campaign_categories,
        }
        return (
            {name for name, values in asked.items() if values}
            | {f"order.metadata.{key}" for key in self.order_metadata}
            | {f"customer.metadata.{key}" for key in self.customer_metadata}
        )


class Multiplier(Condition, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    times: Decimal
    """0 to 1,000, at most nine decimal places."""


class Bonus(Condition, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    points: Annotated[int, Meta(ge=1, le=LARGEST)]


class Exclusion(Condition, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Redemptions that earn nothing and decide nothing."""


class Version(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The rules from one moment to the next version's. Amounts are minor units."""

    version: Label
    effective_from: Moment | None = None
    """None, of the first version alone: from the beginning."""
    base: Base = Base.TOTAL_AMOUNT
    metadata_key: Label | None = None
    """Where a base of metadata finds its number."""
    items: Items = Items()
    points: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    every: Annotated[int, Meta(ge=1, le=LARGEST)] = 100
    rounding: Rounding = Rounding.WHOLE_STEPS
    gift_credits_count: bool = False
    """Whether paying with a gift card's credits is paying."""
    beneficiary: Beneficiary = Beneficiary.CUSTOMER
    minimum_order: Whole = 0
    max_points_per_redemption: Whole | None = None
    max_points_per_order: Whole | None = None
    currency_exponent: Annotated[int, Meta(ge=0, le=3)] = 2
    """Decimal places of the currency, for people: 1150 minor units are shown as 11.50."""
    multipliers: tuple[Multiplier, ...] = ()
    """The first that a live redemption of the order meets applies, to the whole order."""
    bonuses: tuple[Bonus, ...] = ()
    """Each that a redemption meets adds to what it earns."""
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def details(self) -> set[str]:
        rules: Iterable[Condition] = (*self.multipliers, *self.bonuses, *self.exclusions)
        asked = set().union(*(rule.details for rule in rules))
        if self.gift_credits_count:
            asked.add("gift")
        if self.beneficiary is not Beneficiary.CUSTOMER:
            asked.add("holder")
        match self.base:
            case Base.DISCOUNT:
                asked.add("discount")
            case Base.ITEMS:
                asked.add(f"items.{self.items.figure}")
            case Base.ORDER_METADATA:
                asked.add(f"order.number.{self.metadata_key}")
            case Base.CUSTOMER_METADATA:
                asked.add(f"customer.number.{self.metadata_key}")
        return asked


class Policy:
    """All versions, the earliest first."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = tuple(versions)
        self.details = frozenset[str]().union(*(version.details for version in versions))
        """What redemptions are read for beyond the usual facts; empty for most policies."""
        self.needs_amount = any(version.base is Base.AMOUNT for version in versions)
        self.excludes = any(version.exclusions for version in versions)
        # Most policies have one version: it is asked for several times an order.
        only = versions[0] if len(versions) == 1 else None
        self._always = only if only is not None and only.effective_from is None else None
        self.plain = self._always if self._always is not None and _is_plain(self._always) else None
        """The one version of a policy that asks for the total, whole steps and the customer, and no more."""
        self._starts = [starts_at(version) for version in versions]

    def version_at(self, date: int | None) -> Version | None:
        """The version in force at `date` (milliseconds since 1970); None before the first.

        An unknown date has the earliest version: when the event arrived must not matter.
        """
        if self._always is not None:
            return self._always
        if date is None:
            return self.versions[0]
        for start, version in zip(reversed(self._starts), reversed(self.versions), strict=True):
            if start is None or start <= date:
                return version
        return None

    @cached_property
    def document(self) -> str:
        """The policy as canonical JSON: equal for equal rules, whatever the file looked like."""
        return msgspec.json.encode(self.versions, order="sorted").decode()

    @cached_property
    def fingerprint(self) -> str:
        return sha256(self.document.encode()).hexdigest()[:12]


def _is_plain(version: Version) -> bool:
    rate = Version(version=version.version, points=version.points, every=version.every)
    return structs.replace(version, currency_exponent=rate.currency_exponent) == rate


def policy_of(document: str) -> Policy:
    """The policy that a `Policy.document` was made of."""
    return Policy(msgspec.json.decode(document, type=tuple[Version, ...]))


def starts_at(version: Version) -> int | None:
    return None if version.effective_from is None else milliseconds(version.effective_from)


def milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


STANDARD = Policy((Version(version="standard"),))
"""One point for each 100 minor units: what config/loyalty.toml says as well."""
