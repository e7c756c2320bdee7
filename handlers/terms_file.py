"""From a delivery policy file to the terms it gives handlers, or to every fault in it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from events.failures import Misconfigured
from handlers.tables import WrongPolicy, read_text, table_faults, toml_of
from handlers.terms import TermsTable


def load_terms(path: Path) -> dict[str, TermsTable]:
    """By handler. Raises Misconfigured with the first fault."""
    try:
        return parse_terms(read_text(path))
    except WrongPolicy as wrong:
        more = f" (and {len(wrong.faults) - 1} more)" if len(wrong.faults) > 1 else ""
        raise Misconfigured("delivery_policy", f"{path}: {wrong.faults[0]}{more}") from None


def parse_terms(text: str) -> dict[str, TermsTable]:
    """Raises WrongPolicy."""
    content = toml_of(text)
    if faults := list(_faults(content)):
        raise WrongPolicy(faults)
    return msgspec.convert(content, dict[str, TermsTable])


def _faults(content: Mapping[str, Any]) -> Iterator[str]:
    for handler, table in content.items():
        yield from table_faults(table, TermsTable, handler)
