"""Which effects of one handler this worker may claim now: what is due, what others lost, and the one call
that finds out whether a dependency is back."""

from collections.abc import Collection, Iterable
from enum import Enum, auto
from typing import NamedTuple

from consumer.endings import Ended
from consumer.work import Work
from storage.breakers import Signals, begin_probe, end_probe
from storage.database import Transaction
from storage.effects import Mark, dependencies_of
from storage.leases import Lease, lease_any, lease_due, take_over

PROBE_SECONDS = 5.0
"""What a probe may take beyond the handler's time-out, until somebody else makes one."""


class Doors(NamedTuple):
    """What a handler may claim; dependencies are numbers of names."""

    handler: int
    open: list[int]
    probed: list[int]
    """Their breakers are open; one call may be made, and it is ours to make."""
    due: dict[str, int]
    """As `probed`, but no effect waits for them: whoever calls them next makes it; until when, in ms."""


class TakeOver(Enum):
    """What of leases that have ended without a word."""

    NOTHING = auto()
    UNSUSPECTED = auto()
    """Only what was lost once."""
    ALL = auto()


class Claimed(NamedTuple):
    leases: list[Lease]
    more: bool
    """As many as were wanted: there may be more."""
    more_lost: bool
    """Lost workers may have left more than was taken over."""
    probes: dict[Mark, str]


class Claims:
    """Owns which of this worker's effects are probes, and how long it has been in touch with the database."""

    def __init__(self, work: Work, owner: str) -> None:
        self._work = work
        self._owner = owner
        self._in_touch_since: float | None = None
        self.probes: dict[Mark, str] = {}
        """Effects that are called although a breaker is open, with its dependency."""

    def lose_touch(self) -> float | None:
        """Before a transaction that may fail; returns since when none has."""
        since, self._in_touch_since = self._in_touch_since, None
        return since

    def touch(self, since: float) -> None:
        self._in_touch_since = since

    def settle(self, claimed: Claimed, ended: Iterable[Ended]) -> None:
        """After the transaction: what it claimed, and what it stored the end of."""
        for one in ended:
            self.probes.pop(one.lease.mark, None)
        self.probes.update(claimed.probes)

    async def look(self, transaction: Transaction, signals: Signals, asked: Collection[str]) -> Doors:
        """Which dependencies may be called, and which one call each of the others. First in the transaction:
        breakers are locked before anything else. `asked`: what attempts would have called."""
        handler = transaction.names.find(self._work.handler)
        if handler is None or signals.stopped:
            return Doors(0, [], [], {})
        numbers = await dependencies_of(transaction, handler)
        names = {transaction.names.word(number): number for number in numbers}
        open_: list[int] = []
        probed: list[int] = []
        due: dict[str, int] = {}
        for name in sorted({*names, *asked}):
            breaker = signals.breakers.get(name)
            if breaker is None or not breaker.is_open:
                if name in names:
                    open_.append(names[name])
            elif breaker.probe_at is not None and breaker.probe_at <= signals.now:
                until = signals.now + int((self._work.terms.timeout + PROBE_SECONDS) * 1000)
                if not await begin_probe(transaction, name, until):
                    continue
                if name in names:
                    probed.append(names[name])
                else:
                    due[name] = until
        return Doors(handler, open_, probed, due)

    async def claim(
        self,
        transaction: Transaction,
        doors: Doors,
        wants: int,
        at_once: int,
        seconds: float,
        over: TakeOver,
    ) -> Claimed:
        """Up to `wants` effects, of which `at_once` begin at once, and the probes."""
        leases: list[Lease] = []
        probes: dict[Mark, str] = {}
        full = more_lost = False
        for dependency in doors.probed:
            probe = await lease_any(transaction, doors.handler, dependency, self._owner, seconds)
            if not probe and over is not TakeOver.NOTHING:
                probe = await self._taken_over(transaction, doors.handler, dependency, 1, seconds, over)
            name = transaction.names.word(dependency)
            if not probe:
                await end_probe(transaction, name)
            probes |= dict.fromkeys((lease.mark for lease in probe), name)
            leases += probe
        for dependency in doors.open:
            if over is not TakeOver.NOTHING and wants > len(leases):
                few = min(wants - len(leases), self._work.terms.concurrency)
                lost = await self._taken_over(transaction, doors.handler, dependency, few, seconds, over)
                leases += lost
                more_lost = more_lost or len(lost) >= few
            for up_to, counts in ((min(wants, at_once), True), (wants, False)):
                left = up_to - len(leases)
                if left <= 0:
                    continue
                due = await lease_due(
                    transaction, doors.handler, dependency, self._owner, left, seconds, counts=counts
                )
                leases += due
                if len(due) < left:
                    break
            full = full or len(leases) >= wants > 0
        return Claimed(leases, full, more_lost, probes)

    async def _taken_over(
        self,
        transaction: Transaction,
        handler: int,
        dependency: int,
        few: int,
        seconds: float,
        over: TakeOver,
    ) -> list[Lease]:
        """What lost workers left. What was lost again and again comes one at a time: perhaps it is what ends
        its workers, and those that are claimed with it must not be counted down beside it."""
        leases = await take_over(transaction, handler, dependency, self._owner, few, seconds, suspects=False)
        if len(leases) < few and over is TakeOver.ALL:
            leases += await take_over(
                transaction, handler, dependency, self._owner, 1, seconds, suspects=True
            )
        return leases
