"""Bodies as Voucherify delivers them, as small as a test wants them."""

from typing import Any

import msgspec

DATE = "2026-07-01T12:00:00.000Z"


def redeemed(
    redemption: str = "r_1", *, customer: str = "cust_1", total: int = 10_000, date: str = DATE, **more: Any
) -> bytes:
    """A redemption that succeeded. `total`: what its order came to, in minor units; `more`: members of the
    body that take the place of those here."""
    return _body("customer.redemption.succeeded", redemption, customer, total, date, more)


def rolled_back(
    redemption: str = "r_1", *, customer: str = "cust_1", total: int = 10_000, date: str = DATE, **more: Any
) -> bytes:
    """The rollback of that redemption; `date` is still the redemption's own."""
    rollback = {"id": f"rr_{redemption}", "redemption": redemption, "result": "SUCCESS", "date": date}
    more = {"redemption_rollback": rollback} | more
    return _body("customer.redemption.rollback.succeeded", redemption, customer, total, date, more)


def _body(type: str, redemption: str, customer: str, total: int, date: str, more: dict[str, Any]) -> bytes:
    data = {
        "customer": {"id": customer, "object": "customer"},
        "order": {"id": f"ord_{redemption}", "status": "PAID", "total_amount": total, "object": "order"},
        "voucher": {"id": f"v_{redemption}", "type": "DISCOUNT_VOUCHER", "object": "voucher"},
        "redemption": {
            "id": redemption,
            "customer_id": customer,
            "date": date,
            "result": "SUCCESS",
            "status": "SUCCEEDED",
            "object": "redemption",
        },
    }
    event = {"id": f"ev_{redemption}", "type": type, "created_at": date}
    return msgspec.json.encode({"id": f"evw_{redemption}", "event": event, "data": data | more})
