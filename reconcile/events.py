"""From a row of Voucherify's list to the body of the event that a webhook would have brought.

A raw payload: the row itself as `redemption` (or `redemption_rollback`), and what it holds also where an
event has it. Values are passed on byte for byte.
"""

from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from events.decode import interpret
from events.event import Kind, RedemptionEvent
from events.failures import Malformed
from events.keys import record_key
from events.reading import read
from reconcile.moments import moment

Fields = dict[str, Raw]

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


def read_row(row: Raw, tenant: str) -> Told:
    """Raises Malformed, and nothing else whatever the row holds."""
    fields = _fields(row)
    row_id = _value(fields, "id")
    if fields is None or not isinstance(row_id, str):
        raise Malformed("no_redemption_id", "a row of the list has no id")
    is_rollback = _value(fields, "object") == "redemption_rollback" or row_id.startswith(("rr_", "rrf_"))
    body = msgspec.json.encode(_rollback(fields) if is_rollback else _success(fields))
    content = read(body)
    event = interpret(content, tenant)
    matters = isinstance(event, RedemptionEvent) and event.kind is not Kind.FAILED
    return Told(
        row_id=row_id,
        event=event if isinstance(event, RedemptionEvent) and matters else None,
        body=body,
        key=record_key(content),
        date=_date(_value(fields, "date")),
        undone=not is_rollback and (_value(fields, "status") in UNDONE or _has_rollbacks(fields)),
    )


def _success(fields: Fields) -> dict[str, Any]:
    # The row tells how things are now. As an event, a success that says so would be its own rollback.
    redemption = {
        name: value
        for name, value in fields.items()
        if name != "status" or _value(fields, name) not in UNDONE
    }
    return _shared(fields) | {"redemption": redemption}


def _rollback(fields: Fields) -> dict[str, Any]:
    body = _shared(fields) | {"redemption_rollback": fields}
    original = _value(fields, "redemption")
    return body if original is None else body | {"redemption": {"id": original}}


def _shared(fields: Fields) -> dict[str, Any]:
    body: dict[str, Any] = {name: fields[name] for name in SHARED if _value(fields, name) is not None}
    voucher = _fields(fields.get("voucher"))
    related = _value(fields, "related_object_type")
    if related in ("voucher", "promotion_tier") and voucher is None and "promotion_tier" not in body:
        # Without either, a redemption reads as the parent of a stack.
        body[related] = {"id": _value(fields, "related_object_id")}
    if voucher is not None:
        body["voucher"] = voucher
    if "voucher" in body and (type_ := _voucher_type(fields, voucher or {})) is not None:
        body["voucher"] = body["voucher"] | {"type": type_}
    return body


def _voucher_type(fields: Fields, voucher: Fields) -> str | None:
    """The type to add; None if the voucher tells its own, or nobody knows."""
    if _value(voucher, "type") is not None:
        return None
    told = (type_ for name, type_ in VOUCHER_TYPES.items() if _fields(fields.get(name)) is not None)
    of_voucher = (type_ for name, type_ in VOUCHER_TYPES.items() if _fields(voucher.get(name)) is not None)
    return next(told, None) or next(of_voucher, None)


def _has_rollbacks(fields: Fields) -> bool:
    related = _fields(fields.get("related_redemptions"))
    return bool(related and _value(related, "rollbacks"))


def _fields(raw: Raw | None) -> Fields | None:
    """The members of an object; None if it is none."""
    try:
        return None if raw is None else msgspec.json.decode(raw, type=Fields)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _value(fields: Fields | None, name: str) -> Any:
    """A member's value; None if it is absent or unreadable."""
    try:
        return msgspec.json.decode(fields[name]) if fields and name in fields else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _date(value: Any) -> int | None:
    try:
        return moment(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
