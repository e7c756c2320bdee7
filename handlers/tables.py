"""Policy files: reading them, and what is wrong with their tables, a line for each fault with its place."""

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Meta, Struct


class WrongPolicy(Exception):
    """The file is no policy. `faults`: a line for each thing wrong."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def read_text(path: Path) -> str:
    """Raises WrongPolicy."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as wrong:
        raise WrongPolicy([f"cannot be read: {wrong}"]) from None


def toml_of(text: str) -> dict[str, Any]:
    """Numbers that are no integers as Decimal. Raises WrongPolicy."""
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise WrongPolicy([f"is no TOML: {wrong}"]) from None


def table_faults(value: Any, struct: type[Struct], place: str) -> Iterator[str]:
    """Everything wrong with a table; msgspec alone would stop at the first."""
    if not isinstance(value, dict):
        yield f"{place}: must be a table"
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    yield from unknown_keys(value, fields, f"{place}.")
    for name, field in fields.items():
        if name not in value:
            if field.required:
                yield f"{place}.{name}: is missing"
            continue
        yield from field_faults(value[name], field.type, f"{place}.{name}")


def field_faults(value: Any, kind: Any, place: str) -> Iterator[str]:
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield from table_faults(value, kind, place)
        return
    inner = get_args(kind)[0] if get_origin(kind) is tuple else None
    if isinstance(inner, type) and issubclass(inner, Struct):
        if not isinstance(value, list):
            yield f"{place}: must be a list of tables, [[{place}]]"
            return
        for number, each in enumerate(value, start=1):
            yield from table_faults(each, inner, f"{place}[{number}]")
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as wrong:
        yield f"{place}: {_plain(str(wrong), kind)}"


def _plain(wrong: str, kind: Any) -> str:
    """What msgspec says of a value; in people's words where it would show a pattern, or no fit word."""
    if wrong.startswith("Invalid enum value"):
        return f"{wrong}; there are {', '.join(map(str, _inside(kind, str)))}"
    described = next((meta.description for meta in _inside(kind, Meta) if meta.description), None)
    return f"must be {described}" if described and "matching regex" in wrong else wrong


def _inside(kind: Any, wanted: type) -> Iterator[Any]:
    """The words of a Literal, the Metas of an Annotated, however deep in the type."""
    for part in get_args(kind):
        if isinstance(part, wanted):
            yield part
        yield from _inside(part, wanted)


def unknown_keys(value: Mapping[str, Any], known: Collection[str], place: str) -> Iterator[str]:
    for name in value:
        if name not in known:
            nearest = get_close_matches(name, list(known), n=1, cutoff=0.0)[0]
            yield f"{place}{name}: is unknown; did you mean {nearest}?"
