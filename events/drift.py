"""Where a delivery leaves the documented contract, without a word of what it says about anybody. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from events.contract import DATA_KEYS, DATA_WORDS, ENVELOPE_KEYS, ENVELOPE_WORDS, EVENT_TYPES, Words
from events.event import Ignored, RedemptionEvent, Shape

OTHER = "other"
"""Stands for whatever might be personal, or is too long to be a name."""
MOST = 50
"""Told of one body."""
DEEPEST = 6
MOST_KEYS = 60

_KEY = re.compile(r"(?=.{1,40}\Z)(?!(?:[^0-9]*[0-9]){4})[A-Za-z_][A-Za-z0-9_.-]*")
_WORD = re.compile(r"(?=.{1,40}\Z)(?:[A-Z]+(?:[_ -][A-Z]+)*|[a-z]+(?:[_-][a-z]+)*)")
_TYPE = re.compile(r"(?=.{1,64}\Z)[a-z_]+(?:[.-][a-z_]+){0,7}")
_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}


class Drift(NamedTuple):
    """`kind`: `event_type`, `key` or `value`. `place`: `envelope`, `data`, or the path of a field we know.
    `seen`: the name of the key, the word, or in parentheses the JSON type of what is no word."""

    kind: str
    place: str
    seen: str


def drift_in(whole: Mapping[str, Any], event: RedemptionEvent | Ignored) -> list[Drift]:
    """What is undocumented in a body, read whole; of an event that does not concern us only its type."""
    if isinstance(event, RedemptionEvent):
        return list(dict.fromkeys(_drift_of(event, whole)))[:MOST]
    if event.type in EVENT_TYPES or event.type == "test-send":
        return []
    return [Drift("event_type", "event.type", plain_type(event.type))]


def _drift_of(event: RedemptionEvent, whole: Mapping[str, Any]) -> list[Drift]:
    """Keys at the top and words of closed lists."""
    data, found = whole, []
    if event.shape is not Shape.RAW:
        inner = whole.get("data")
        # A payload may also lie beside its envelope's keys, if a marketer has designed it so.
        known = ENVELOPE_KEYS if isinstance(inner, dict) else ENVELOPE_KEYS | DATA_KEYS
        found += [Drift("key", "envelope", _name(key, _KEY)) for key in whole if key not in known]
        found += _words(whole, ENVELOPE_WORDS, "")
        data = inner if isinstance(inner, dict) else {}
    found += [Drift("key", "data", _name(key, _KEY)) for key in data if key not in DATA_KEYS]
    return [*found, *_words(data, DATA_WORDS, "")]


def plain_type(event_type: str) -> str:
    """An event type fit to be a metric's label: the sender writes it."""
    return _name(event_type, _TYPE)


def skeleton(value: Any, depth: int = 0) -> Any:
    """Its structure alone: the names of keys and the types of values."""
    if isinstance(value, dict) and depth < DEEPEST:
        named = ((_name(key, _KEY), inner) for key, inner in list(value.items())[:MOST_KEYS])
        # The keys of metadata are the merchant's data, not the contract's.
        return {
            key: type_of(inner) if key == "metadata" else skeleton(inner, depth + 1) for key, inner in named
        }
    if isinstance(value, list) and value and depth < DEEPEST:
        return [skeleton(value[0], depth + 1)]
    return type_of(value)


def type_of(value: Any) -> str:
    """As JSON names it."""
    return "null" if value is None else _JSON_TYPES.get(type(value), "number")


def _words(value: Any, known: Words, place: str) -> Iterator[Drift]:
    for key, words in known.items():
        inner = value.get(key)
        if inner is None:
            continue
        path = f"{place}.{key}" if place else key
        if isinstance(words, frozenset):
            if not isinstance(inner, str):
                yield Drift("value", path, f"({type_of(inner)})")
            elif inner not in words:
                yield Drift("value", path, _name(inner, _WORD))
            continue
        for each in inner if isinstance(inner, list) else [inner]:
            if isinstance(each, dict):
                yield from _words(each, words, path)
            else:
                yield Drift("value", path, f"({type_of(each)})")


def _name(text: str, pattern: re.Pattern[str]) -> str:
    return text if pattern.fullmatch(text) else OTHER
