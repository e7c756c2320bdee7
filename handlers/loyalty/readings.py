"""The reading of single values that the ledger stores: ids, words, amounts. What is fit to keep."""

import re
from decimal import Decimal
from typing import Any

from events.failures import Refused
from events.ids import LONGEST_ID, is_fit

LARGEST_AMOUNT = 2**53
LONGEST_WORD = 64
QUOTED_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def id_of(value: Any, reason: str, place: str) -> str | None:
    """An id becomes a key: a database would refuse NUL and surrogates, and an index a long one."""
    if value is None or is_fit(value):
        return value
    raise Refused(reason, f"{place} is not a text of 1 to {LONGEST_ID} bytes without control characters")


def word_of(value: Any, longest: int = LONGEST_WORD) -> str | None:
    """A value of an open list. What is no word reads as absent: the rules ask only for a few known ones."""
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        return None
    # Nearly every word is plain ASCII, and then this is all there is to look for.
    plain = value.isascii() and value.isprintable()
    return value if plain or not UNPRINTABLE.search(value) else None


def amount_of(value: Any, place: str) -> int | None:
    """Minor units: a whole number, `10.0` and a quoted one included."""
    if value is None or (type(value) is int and -LARGEST_AMOUNT <= value <= LARGEST_AMOUNT):
        return value  # as all but a few are
    amount = number_of(value)
    # Compared before it becomes an int: int(Decimal("1E+999999999")) would need a gigabyte.
    if amount is None or not -LARGEST_AMOUNT <= amount <= LARGEST_AMOUNT or amount != int(amount):
        raise Refused("unfit_amount", f"{place} is not a whole number of minor units within 2^53")
    return int(amount)


def number_of(value: Any) -> int | Decimal | None:
    match value:
        case bool():
            return None
        case int():
            return value
        case Decimal():
            return value if value.is_finite() else None
        case str() if QUOTED_NUMBER.fullmatch(value):
            return Decimal(value)
    return None
