"""From bytes to the payload structs. One reading decides what a body says; nothing else parses it.

msgspec reads what Voucherify sends in one pass. What it refuses, but JSON allows, is read a second time by
the standard library: an object of the wrong type, a number of 5,000 digits or half a surrogate pair must not
fail an event whose handlers never look there.
"""

import json
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

import msgspec

from events.documented import KnownBody
from events.failures import Malformed
from events.payload import Body

S = TypeVar("S", bound=msgspec.Struct)

BEYOND_ALL_BOUNDS = 10**100
"""Stands for a number too long to hold: whoever reads it as an amount refuses it."""

LONGEST_INTEGER = 400
"""Digits. Python itself gives up at 4,300, with an exception of its own."""


def _decimal(digits: str) -> Decimal | int:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return BEYOND_ALL_BOUNDS


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= LONGEST_INTEGER else BEYOND_ALL_BOUNDS


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_decoder = msgspec.json.Decoder(Body, float_hook=_decimal)
_close_decoder = msgspec.json.Decoder(KnownBody, float_hook=_decimal)
_whole_decoder = msgspec.json.Decoder(float_hook=_decimal)


def read(body: bytes) -> Body:
    """The payload, whatever its shape. Raises Malformed: not_utf8, not_json, too_deep, not_an_object.

    Of duplicate keys the last wins, in both readings.
    """
    # msgspec passes over strings that no struct names without looking at their bytes.
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise Malformed("not_utf8", "the body is not UTF-8") from None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return _read_leniently(body.decode())
    except RecursionError:
        raise _too_deep() from None


def read_closely(body: bytes) -> Body:
    """The same payload; it is a KnownBody if nothing that those look at is undocumented."""
    try:
        if not body.isascii():
            body.decode()
        return _close_decoder.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return read(body)


def read_whole(body: bytes) -> dict[str, Any]:
    """All keys of a body that `read` has read, for the few who need more than the structs name: it takes
    several times as long. Numbers are int or Decimal."""
    try:
        value = _whole_decoder.decode(body)
    except msgspec.DecodeError:
        value = _parsed(body.decode())
    return value if isinstance(value, dict) else {}


def _read_leniently(text: str) -> Body:
    content = _shaped(_parsed(text), Body)
    if content is None:
        raise Malformed("not_an_object", "the body is JSON, but not an object")
    return content


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_float=_decimal, parse_int=_integer, parse_constant=_no_number)
    except ValueError:
        raise Malformed("not_json", "the body is not JSON") from None
    except RecursionError:
        raise _too_deep() from None


def _shaped(value: Any, struct: type[S]) -> S | None:
    """`value` as `struct`; None if it is no object, and so for every object within."""
    if not isinstance(value, dict):
        return None
    named = {name: value[name] for name in struct.__struct_fields__ if name in value}
    for name, inner in _inner_structs(struct).items():
        if name in named:
            named[name] = _shaped(named[name], inner)
    return struct(**named)


@cache
def _inner_structs(struct: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    return {
        name: choice
        for name, hint in get_type_hints(struct).items()
        for choice in get_args(hint)
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct)
    }


def _too_deep() -> Malformed:
    return Malformed("too_deep", "the body is nested too deep to be read")
