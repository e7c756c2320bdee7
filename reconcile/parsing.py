"""Taking JSON apart without reading more of it than is asked for: what is passed on stays byte for byte.

msgspec does it in one pass. What it refuses, but JSON allows (half a surrogate pair in a customer's name), is
taken apart by the standard library: one odd name must not hide the hundred rows of its page.
"""

import json
from typing import Any

import msgspec
from msgspec import Raw, Struct

Members = dict[str, Raw]


class _List(Struct):
    redemptions: list[Raw]


_LIST = msgspec.json.Decoder(_List)
_MEMBERS = msgspec.json.Decoder(Members)
_TROUBLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def rows_of(answer: bytes) -> list[Raw]:
    """The rows of a list. Raises ValueError if it is none."""
    try:
        return _LIST.decode(answer).redemptions
    except _TROUBLE:
        content = _leniently(answer)
    rows = content.get("redemptions") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise ValueError("no list of redemptions")
    return [_raw(row) for row in rows]


def members_of(raw: Raw | None) -> Members | None:
    """The members of an object; None if it is none."""
    if raw is None:
        return None
    try:
        return _MEMBERS.decode(raw)
    except _TROUBLE:
        content = _value_of(raw)
    return {name: _raw(value) for name, value in content.items()} if isinstance(content, dict) else None


def value_of(members: Members | None, name: str) -> Any:
    """A member's value; None if it is absent or cannot be read."""
    raw = members.get(name) if members else None
    return None if raw is None else _value_of(raw)


def _value_of(raw: Raw) -> Any:
    try:
        return _leniently(raw)
    except ValueError:
        return None


def _leniently(text: bytes | Raw) -> Any:
    try:
        return json.loads(bytes(text))
    except RecursionError:
        raise ValueError("nested too deep") from None


def _raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())
