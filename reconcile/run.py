"""A run from the first page to the last: list, compare, enqueue, and at the end what only we have."""

from collections.abc import Callable, Iterator, Sequence

import structlog
from msgspec import Raw

from events.event import Kind
from events.failures import Malformed
from handlers.loyalty.facts import Facts
from reconcile.compare import dated, extras_of, known_erased, missing_of
from reconcile.enqueueing import Enqueueing
from reconcile.events import Told, read_row
from reconcile.journal import Journal, Listed
from reconcile.listing import Page, Pages, pages
from reconcile.moments import Window
from storage.database import Database

log = structlog.get_logger(__name__)

SKEW = 60_000
"""Milliseconds. Voucherify filters by `created_at`, which rows do not show; their `date` is close to it."""
ROLLED_BACK_WITHIN = 120 * 86_400_000
"""Milliseconds. Voucherify allows a rollback for three months."""


class Run:
    def __init__(
        self,
        voucherify: Pages,
        database: Database,
        journal: Journal,
        window: Window,
        now: int,
        enqueueing: Enqueueing | None = None,
        moved: Callable[[int], None] = lambda moment: None,
    ) -> None:
        """`window`: of the dates of redemptions and rollbacks. `moved` is told the moment it came to."""
        self._voucherify = voucherify
        self._database = database
        self._journal = journal
        self._tenant = journal.scope.tenant
        self._window = window
        self._now = now
        self._enqueueing = enqueueing
        self._moved = moved

    async def complete(self) -> None:
        """Everything found is in the journal. Raises a Failure: then the journal can be taken up again."""
        start = self._window.start - SKEW if self._journal.frontier is None else self._journal.frontier
        async for page in pages(self._voucherify, Window(start, self._window.end + SKEW)):
            told = await self._compare(page)
            if page.finished is not None:
                self._journal.finish(page.finished)
            self._moved(page.finished or max((each.date or start for each in told), default=start))
        await self._find_extras()

    async def _compare(self, page: Page) -> Sequence[Told]:
        """Returns what the page told for the first time."""
        told, unreadable = self._read(page.rows)
        inside = [each for each in told if self._is_inside(each)]
        async with self._database.snapshot() as snapshot:
            missing, different = await missing_of(snapshot, self._tenant, list(self._news(inside)))
            erased = await known_erased(snapshot, self._tenant, [each for each, _ in missing])
        missing = [(each, finding) for each, finding in missing if each.row_id not in erased]
        enqueued = 0
        if self._enqueueing and missing:
            # Before the journal says so: what is enqueued twice is a duplicate to the worker, no loss.
            enqueued = await self._enqueueing.append([each for each, _ in missing])
        reversals = [each.event for each in told if each.event and each.event.kind is Kind.ROLLED_BACK]
        self._journal.add(
            *(finding for _, finding in missing),
            *different,
            Listed(
                rows=[each.row_id for each in told],
                reversed=[event.redemption_id for event in reversals],
                undone=[each.row_id for each in told if each.undone],
                checked=len(inside),
                unreadable=unreadable,
                enqueued=enqueued,
                erased=len(erased),
            ),
        )
        return told

    def _read(self, rows: Sequence[Raw]) -> tuple[list[Told], int]:
        """The rows that come for the first time, and how many nobody can read."""
        told: dict[str, Told] = {}
        unreadable = 0
        for row in rows:
            try:
                each = read_row(row, self._tenant)
            except Malformed as malformed:
                unreadable += 1
                log.warning("unreadable_row", reason=malformed.reason)
                continue
            if each.row_id not in self._journal.rows:
                told[each.row_id] = each
        return list(told.values()), unreadable

    def _is_inside(self, told: Told) -> bool:
        return told.date is None or self._window.start <= told.date < self._window.end

    def _news(self, told: Sequence[Told]) -> Iterator[Told]:
        """Without the second rollback of a redemption: until July 2026 two at once were possible."""
        here: set[str] = set()
        for each in told:
            if each.event is None:
                continue
            if each.event.kind is Kind.ROLLED_BACK:
                if each.event.redemption_id in here or each.event.redemption_id in self._journal.reversed:
                    continue
                here.add(each.event.redemption_id)
            yield each

    async def _find_extras(self) -> None:
        journal, doubtful = self._journal, []
        async with self._database.snapshot() as snapshot:
            async for facts in dated(snapshot, self._tenant, self._window):
                id = facts.redemption_id
                is_listed = id in journal.rows
                is_odd = facts.reversed and id not in journal.reversed and id not in journal.undone
                if is_listed and is_odd:
                    doubtful.append(facts)
                elif not is_listed:
                    kinds = [Kind.SUCCEEDED, Kind.ROLLED_BACK] if is_odd else [Kind.SUCCEEDED]
                    journal.add(*extras_of(facts, kinds))
        for facts in doubtful:
            # Its rollback may have come after the window. Asked outside the snapshot, which nobody may hold
            # while the network takes its time.
            if facts.customer_id is not None and not await self._was_rolled_back(facts):
                journal.add(*extras_of(facts, [Kind.ROLLED_BACK]))

    async def _was_rolled_back(self, facts: Facts) -> bool:
        """Whether Voucherify lists a rollback of it, as late as one is possible."""
        assert facts.date is not None  # or it would be in no window
        latest = min(self._now, facts.date + ROLLED_BACK_WITHIN)
        window = Window(facts.date - SKEW, max(latest, self._window.end) + SKEW)
        async for page in pages(self._voucherify, window, facts.customer_id):
            for told in self._read(page.rows)[0]:
                event = told.event
                if event and event.kind is Kind.ROLLED_BACK and event.redemption_id == facts.redemption_id:
                    return True
        return False
