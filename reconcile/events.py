"""From a row of Voucherify's list to the body of the event that a webhook would have brought.

A raw payload: the row itself as `redemption` (or `redemption_rollback`), and what it holds also where an
event has it. Values are passed on byte for byte.
"""

from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from events.decode import decode
from events.event import Kind, RedemptionEvent
from events.failures import Malformed
from events.keys import record_key
from events.reading import read
from reconcile.moments import moment
from reconcile.parsing import Members, members_of, value_of

SHARED = ("customer", "order", "promotion_tier")
UNDONE = ("ROLLED_BACK", "ROLLED BACK")
VOUCHER_TYPES = {
    "loyalty_card": "LOYALTY_CARD",
    "gift": "GIFT_VOUCHER",
    "discount": "DISCOUNT_VOUCHER",
}
"""By what a row, or its voucher, tells of the voucher's value: the list itself leaves the type out."""


class Told(NamedTuple):
    """What a row tells: one success, or one rollback."""

    row_id: str
    event: RedemptionEvent | None
    """None: of a failed redemption, or of a test; nothing to compare."""
    body: bytes
    key: bytes | None
    date: int | None
    """Milliseconds since 1970; None if the row has no date that can be read."""
    undone: bool
    """A success that, as the row says, was rolled back since."""


def read_row(raw: Raw, tenant: str) -> Told:
    """Raises Malformed, and nothing else whatever the row holds."""
    row = members_of(raw)
    row_id = value_of(row, "id")
    if row is None or not isinstance(row_id, str):
        raise Malformed("no_redemption_id", "a row of the list has no id")
    is_rollback = value_of(row, "object") == "redemption_rollback" or row_id.startswith(("rr_", "rrf_"))
    body = _encoded(_rollback(row) if is_rollback else _success(row))
    event = decode(body, tenant)
    matters = isinstance(event, RedemptionEvent) and event.kind is not Kind.FAILED
    return Told(
        row_id=row_id,
        event=event if isinstance(event, RedemptionEvent) and matters else None,
        body=body,
        key=record_key(read(body)),
        date=_date(value_of(row, "date")),
        undone=not is_rollback and (_says_undone(row) or _has_rollbacks(row)),
    )


def _success(row: Members) -> dict[str, Any]:
    # The row tells how things are now. As an event, a success that says so would be its own rollback.
    dropped = "status" if _says_undone(row) else None
    return _shared(row) | {"redemption": {name: row[name] for name in row if name != dropped}}


def _rollback(row: Members) -> dict[str, Any]:
    body = _shared(row) | {"redemption_rollback": row}
    return body | {"redemption": {"id": row["redemption"]}} if "redemption" in row else body


def _shared(row: Members) -> dict[str, Any]:
    body: dict[str, Any] = {name: row[name] for name in SHARED if members_of(row.get(name)) is not None}
    voucher = members_of(row.get("voucher"))
    if voucher is not None:
        body["voucher"] = _typed(voucher, row)
        return body
    related = value_of(row, "related_object_type")
    if related == "voucher":
        body["voucher"] = _typed(_stub(row), row)
    elif related == "promotion_tier":
        body.setdefault("promotion_tier", _stub(row))
    return body


def _stub(row: Members) -> Members:
    """In place of what the row does not show. Without either, a redemption reads as the parent of a stack."""
    return {"id": row["related_object_id"]} if "related_object_id" in row else {}


def _typed(voucher: Members, row: Members) -> dict[str, Any]:
    if value_of(voucher, "type") is not None:
        return voucher
    for told in (row, voucher):
        for name, type_ in VOUCHER_TYPES.items():
            if members_of(told.get(name)) is not None:
                return voucher | {"type": type_}
    return voucher


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        raise Malformed("not_utf8", "a row of the list has a key that is no text") from None


def _says_undone(row: Members) -> bool:
    return value_of(row, "status") in UNDONE


def _has_rollbacks(row: Members) -> bool:
    related = members_of(row.get("related_redemptions"))
    return bool(related and value_of(related, "rollbacks"))


def _date(value: Any) -> int | None:
    try:
        return moment(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
