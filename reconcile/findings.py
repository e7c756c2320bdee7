"""What reconciling finds: rows that we miss, redemptions that only we have, and values that differ."""

from msgspec import Struct

from events.event import Kind
from reconcile.moments import iso


class Missing(Struct, frozen=True, tag="missing"):
    """Voucherify has it, the ledger does not. `kind`: succeeded, or rolled_back."""

    kind: Kind
    redemption_id: str
    rollback_id: str | None
    customer_id: str | None
    order_id: str | None
    date: str | None


class Extra(Struct, frozen=True, tag="extra"):
    """The ledger has it, Voucherify does not. `date` is the redemption's, also that of a reversal."""

    kind: Kind
    redemption_id: str
    customer_id: str | None
    order_id: str | None
    date: str | None


Fact = str | int | None


class Different(Struct, frozen=True, tag="different"):
    """Both have it, and the ledger reckons with something else than Voucherify tells."""

    redemption_id: str
    fields: dict[str, dict[str, Fact]]
    """By the name of the fact: `ours` and `voucherify`."""


Finding = Missing | Extra | Different


def iso_or_none(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)
