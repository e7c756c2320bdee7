"""Redemption events as deliveries tell them, and the documented examples."""

import json
from pathlib import Path
from typing import Any

import msgspec

from events.event import Kind, RedemptionEvent, Shape
from events.payload import Data

EXAMPLES = Path(__file__).parents[2] / "examples"
TENANT = "default"


def a_success(redemption: str = "r_1", tenant: str = TENANT, **data: Any) -> RedemptionEvent:
    """A success with these keys of `data`; `redemption_fields` go into its redemption."""
    fields = {"id": redemption} | data.pop("redemption_fields", {})
    return _event(tenant, Kind.SUCCEEDED, redemption, data | {"redemption": fields})


def a_sale(
    redemption: str = "r_1",
    customer: str | None = "anna",
    order: str | None = "ord_1",
    total: Any = None,
    parent: str | None = None,
    voucher: bool = True,
    tenant: str = TENANT,
    **order_fields: Any,
) -> RedemptionEvent:
    """A success with an order, as the ledger sees most of them."""
    return a_success(
        redemption,
        tenant,
        customer={"id": customer} if customer else None,
        order={"id": order, "total_amount": total} | order_fields,
        voucher={"type": "DISCOUNT_VOUCHER"} if voucher else None,
        redemption_fields={"redemption": parent},
    )


def a_delivery(data: dict[str, Any], tenant: str = TENANT) -> RedemptionEvent:
    """The raw payload of a success, as it is."""
    return _event(tenant, Kind.SUCCEEDED, data["redemption"]["id"], data)


def a_rollback(redemption: str = "r_1", tenant: str = TENANT) -> RedemptionEvent:
    data = {"redemption": {"id": redemption}, "redemption_rollback": {"id": f"r{redemption}"}}
    return _event(tenant, Kind.ROLLED_BACK, redemption, data)


def the_documented_success() -> RedemptionEvent:
    return _documented("customer.redemption.succeeded.json", Kind.SUCCEEDED)


def the_documented_rollback() -> RedemptionEvent:
    return _documented("customer.redemption.rollback.succeeded.json", Kind.ROLLED_BACK)


def _documented(name: str, kind: Kind) -> RedemptionEvent:
    data = msgspec.json.decode((EXAMPLES / name).read_bytes())
    return _event(TENANT, kind, data["redemption"]["id"], data)


def _event(tenant: str, kind: Kind, redemption: str, data: Any) -> RedemptionEvent:
    return RedemptionEvent(
        tenant=tenant,
        kind=kind,
        shape=Shape.RAW,
        redemption_id=redemption,
        rollback_id=f"r{redemption}" if kind is Kind.ROLLED_BACK else None,
        data=msgspec.convert(data, Data),
        body=json.dumps(data, default=str).encode(),
    )


def with_body(event: RedemptionEvent, data: dict[str, Any]) -> RedemptionEvent:
    """The same event with another payload."""
    return _event(event.tenant, event.kind, event.redemption_id, data)
