"""What commands print: answers on stdout, complaints on stderr, hostile text made harmless in both."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Self

from config.logs import escaped

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def print_json(answer: Any) -> None:
    """The whole answer as JSON, ASCII only."""
    print(json.dumps(answer, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns; None is shown as nothing."""
    lines = [tuple(columns)] + [tuple("" if cell is None else safe(cell) for cell in row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def safe(text: object) -> str:
    """Text from outside for a terminal: control characters would move the cursor or forge lines."""
    return escaped(str(text))


def complain(message: str) -> None:
    """One line on stderr that says what is wrong."""
    print(f"redemptions: {safe(' '.join(message.split()))}", file=sys.stderr)


def harmless(text: str) -> str:
    """Text for a cell of CSV: one that a spreadsheet would compute gets an apostrophe."""
    return f"'{text}" if text.startswith(FORMULA) else text


class JsonList:
    """A JSON array written while it is found, however long it is. With `enabled` False it writes nothing."""

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._opened = False

    def __enter__(self) -> Self:
        return self

    def add(self, item: Any) -> None:
        print("," if self._opened else "[", json.dumps(item), sep="\n" if self._opened else "")
        self._opened = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # An answer that broke off must not look complete.
        if self._enabled and kind is None:
            print("]" if self._opened else "[]")
