"""Whether a redemption meets a rule's conditions. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from handlers.loyalty.details import Details
from handlers.loyalty.facts import Facts
from handlers.loyalty.policy import Condition, Metadata, Value, milliseconds

CAMPAIGN = (
    ("campaign_ids", ("campaign.id",)),
    ("campaign_names", ("campaign.name",)),
    ("campaign_types", ("campaign.type",)),
    ("campaign_categories", ("campaign.category", "campaign.category_id")),
)
"""Which of a condition's lists names which details."""


def meets(condition: Condition, facts: Facts, details: Details) -> bool:
    """A condition on what is not known of the redemption is not met."""
    return (
        (not condition.voucher_types or facts.voucher_type in condition.voucher_types)
        and all(_named(getattr(condition, field), details, names) for field, names in CAMPAIGN)
        and _tagged(condition.order_metadata, "order", details)
        and _tagged(condition.customer_metadata, "customer", details)
        and _within(condition, facts.date)
    )


def _named(wanted: Sequence[str], details: Mapping[str, Any], names: Sequence[str]) -> bool:
    return not wanted or any(details.get(name) in wanted for name in names)


def _tagged(wanted: Metadata, owner: str, details: Mapping[str, Any]) -> bool:
    return all(details.get(f"{owner}.metadata.{key}") in _texts(values) for key, values in wanted.items())


def _texts(values: Value | tuple[Value, ...]) -> list[str]:
    """As handlers.loyalty.details writes them: true and "true" are one value."""
    each = values if isinstance(values, tuple) else (values,)
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in each]


def _within(condition: Condition, date: int | None) -> bool:
    if condition.from_ is None and condition.until is None:
        return True
    return (
        date is not None
        and (condition.from_ is None or milliseconds(condition.from_) <= date)
        and (condition.until is None or date < milliseconds(condition.until))
    )
