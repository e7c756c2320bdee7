"""Ids: which ones are fit for keys, headers and columns, and where each of them may stand in a payload."""

import re
from collections.abc import Iterator
from typing import TypeGuard

from events.payload import Data, Leaf, Order

LONGEST_ID = 255
"""Bytes in UTF-8."""

# Control characters (C0, DEL, C1) break headers, logs and PostgreSQL; half a surrogate pair has no UTF-8.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_fit(value: Leaf) -> TypeGuard[str]:
    """Whether `value` may be used as an id: a string of 1 to 255 bytes without control characters."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_ID
        # Nearly every id is plain ASCII, and then this is all there is to look for.
        and (
            (value.isascii() and value.isprintable())
            or (_UNFIT.search(value) is None and len(value.encode()) <= LONGEST_ID)
        )
    )


def first_fit(candidates: Iterator[Leaf]) -> str | None:
    """The first candidate that can be used, for readers that take what they can get."""
    return next((value for value in candidates if is_fit(value)), None)


def first_known(candidates: Iterator[Leaf]) -> Leaf:
    """The first candidate that is there at all, fit or not, for readers that must not guess; else None."""
    return next((value for value in candidates if value is not None), None)


def customer_ids(data: Data) -> Iterator[Leaf]:
    """Whose redemption it is, the best word first."""
    if data.customer is not None:
        yield data.customer.id
    if data.redemption is not None:
        yield data.redemption.customer_id
        if data.redemption.customer is not None:
            yield data.redemption.customer.id
    for order in _orders(data):
        yield order.customer_id


def order_ids(data: Data) -> Iterator[Leaf]:
    for order in _orders(data):
        yield order.id


def original_ids(data: Data) -> Iterator[Leaf]:
    """The redemption concerned: of a rollback the one that was undone, so that both share it."""
    if data.redemption_rollback is not None:
        yield data.redemption_rollback.redemption
    if data.redemption is not None:
        yield data.redemption.id


def _orders(data: Data) -> Iterator[Order]:
    """The order as it is now, then the redemption's snapshot of it."""
    if data.order is not None:
        yield data.order
    if data.redemption is not None and data.redemption.order is not None:
        yield data.redemption.order
