"""All rows of a window, however many: Voucherify shows 99 pages of a query, so a full window is halved."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from msgspec import Raw

from events.failures import Failure
from reconcile.client import PAGE_ROWS
from reconcile.moments import Window

LAST_PAGE = 99
OVERLAP = 1
"""Milliseconds. Nothing says whether the bounds of a query belong to it: a row must not fall between two."""


class Pages(Protocol):
    async def page(self, window: Window, number: int, customer: str | None = None) -> list[Raw]: ...


class Page(NamedTuple):
    rows: Sequence[Raw]
    """Rows may come again, on this page or a later one: new ones push others down while we read."""
    finished: int | None
    """With this page, everything created before that moment was listed."""


async def pages(voucherify: Pages, window: Window, customer: str | None = None) -> AsyncIterator[Page]:
    """The rows created in `window`, the oldest first."""
    ahead = [window]
    while ahead:
        part = ahead.pop()
        async for page in _pages_of(voucherify, part, customer):
            if page is None:
                ahead += reversed(_halves(part))
            else:
                yield page


async def _pages_of(voucherify: Pages, part: Window, customer: str | None) -> AsyncIterator[Page | None]:
    """The pages of one query; None once it turns out to be full."""
    query = Window(part.start - OVERLAP, part.end)
    rows = await voucherify.page(query, 1, customer)
    # One look at the last page spares reading all the others of a window that will be halved.
    if len(rows) >= PAGE_ROWS and _is_full(await voucherify.page(query, LAST_PAGE, customer)):
        yield None
        return
    for number in range(2, LAST_PAGE + 1):
        if len(rows) < PAGE_ROWS:
            break
        yield Page(rows, None)
        rows = await voucherify.page(query, number, customer)
    # It may have become full while we read.
    yield Page(rows, None if _is_full(rows) else part.end)
    if _is_full(rows):
        yield None


def _is_full(rows: Sequence[Raw]) -> bool:
    return len(rows) >= PAGE_ROWS


def _halves(part: Window) -> tuple[Window, Window]:
    if part.end - part.start <= 1:
        raise Failure(
            "window_full",
            f"Voucherify holds more redemptions of one millisecond than the {LAST_PAGE * PAGE_ROWS} it lists",
        )
    return part.halves()
