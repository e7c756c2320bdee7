"""The handlers of a simulated merchant, and the outside world they call, which remembers every call."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from events.event import Kind, RedemptionEvent
from events.failures import Refused, Unavailable
from handlers.protocol import Attempt, Retry, Skipped, Verdicts
from storage.database import Transaction
from tests.simulation.loop import CURRENT, Machine, pause

TIMEOUT_SECONDS = 12.0
ATTEMPTS = 4
SCHEMA = "CREATE TABLE sales (redemption_id TEXT NOT NULL, kind TEXT NOT NULL)"


class Fates(NamedTuple):
    """What some redemptions do to whoever handles them."""

    unfit_sale: frozenset[str] = frozenset()
    """The transactional handler raises."""
    unwanted_sale: frozenset[str] = frozenset()
    """The transactional handler refuses."""
    refused_call: frozenset[str] = frozenset()
    skipped_call: frozenset[str] = frozenset()
    failing_call: frozenset[str] = frozenset()
    deadly_call: frozenset[str] = frozenset()
    """The call ends the process that makes it."""


class Call:
    """One try at the outside, as the outside and the caller know it."""

    def __init__(self, attempt: Attempt, machine: Machine, at: float) -> None:
        self.key = attempt.key
        self.number = attempt.number
        self.machine = machine
        self.began = at
        self.ended: float | None = None
        self.answer: str | None = None
        """What the caller was told: ok, skipped, refused, not sent, unknown, failed; None: nothing."""

    def __repr__(self) -> str:
        return f"try {self.number} by {self.machine} at {self.began:.2f} came to {self.answer}"


class Outside:
    """Owns the record of calls and how often they go wrong."""

    def __init__(self, chance: Random, clock: Callable[[], float], kill: Callable[[Machine], None]) -> None:
        self.chance = chance
        self.clock = clock
        self.kill = kill
        self.fates = Fates()
        self.mended = False
        """Somebody repaired what the transactional handler and the outside could not take."""
        self.trouble = 0.0
        """How often a call goes wrong."""
        self.slow = 0.0
        """How often a call takes long, which is no fault."""
        self.calls: list[Call] = []
        self.counted = Counter[str]()
        self.trace: Callable[..., None] = lambda *told: None

    def happens(self, what: str) -> None:
        self.counted[what] += 1
        self.trace(what, CURRENT.get())


class Sales:
    """A transactional handler that adds a row for each event it is given."""

    name = "sales"
    kinds = (Kind.SUCCEEDED, Kind.ROLLED_BACK)
    keeps_marks = False

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        verdicts: dict[int, Refused | Skipped] = {}
        fates, mended = self._outside.fates, self._outside.mended
        for index, event in enumerate(events):
            if event.redemption_id in fates.unwanted_sale and not mended:
                verdicts[index] = Refused("unwanted", "not sold here")
                continue
            await transaction.run(
                "INSERT INTO sales (redemption_id, kind) VALUES (:id, :kind)",
                id=event.redemption_id,
                kind=event.kind.value,
            )
            if event.redemption_id in fates.unfit_sale and not mended:
                raise ValueError("cannot be sold")
        return verdicts


class Caller:
    """An effect handler that calls the outside."""

    name = "caller"
    kinds = (Kind.SUCCEEDED, Kind.ROLLED_BACK)
    concurrency = 2
    timeout = TIMEOUT_SECONDS
    retry = Retry(attempts=ATTEMPTS, first=0.5, longest=2.0)

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def wants(self, event: RedemptionEvent) -> bool:
        return True

    async def run(self, attempt: Attempt) -> Skipped | None:
        outside, machine = self._outside, CURRENT.get()
        call = Call(attempt, machine, outside.clock())
        outside.calls.append(call)
        outside.trace("call", machine, attempt.key, attempt.number)
        try:
            answer = await self._answer(attempt.event.redemption_id, machine)
            call.answer = "skipped" if answer else "ok"
        except Refused:
            call.answer = "refused"
            raise
        except Unavailable as failure:
            call.answer = "unknown" if failure.sent else "not sent"
            raise
        except Exception:
            call.answer = "failed"
            raise
        finally:
            call.ended = outside.clock()
            outside.trace("call ended", machine, attempt.key, call.answer)
        return answer

    async def _answer(self, redemption: str, machine: Machine) -> Skipped | None:
        outside, fates = self._outside, self._outside.fates
        await pause(outside.chance, 0.2)
        if not outside.mended:
            if redemption in fates.deadly_call:
                outside.happens("call that kills")
                outside.kill(machine)
                await pause(outside.chance, 0.1)
            if redemption in fates.refused_call:
                raise Refused("unknown_customer", "never heard of")
            if redemption in fates.failing_call:
                raise RuntimeError("always fails")
        if redemption in fates.skipped_call:
            return Skipped("not_today")
        if outside.trouble and outside.chance.random() < outside.trouble:
            await self._go_wrong()
        if outside.chance.random() < outside.slow:
            outside.happens("call slow")
            await asyncio.sleep(TIMEOUT_SECONDS * 0.9 * outside.chance.random())
        return None

    async def _go_wrong(self) -> None:
        outside = self._outside
        ill = outside.chance.choice(("fails", "refuses connections", "answer lost", "hangs"))
        outside.happens(f"call {ill}")
        if ill == "fails":
            raise RuntimeError("the outside failed")
        if ill == "refuses connections":
            raise Unavailable("no_connection", "it did not happen")
        if ill == "answer lost":
            raise Unavailable("no_answer", "it may have happened", sent=True)
        await asyncio.sleep(TIMEOUT_SECONDS * 10)


class Payer(Caller):
    """One whose call must never be repeated unless it surely was not carried out."""

    name = "payer"
    on_unknown = "give_up"

    def __init__(self, outside: Outside, after: tuple[str, ...]) -> None:
        """`after`: those that are asked first."""
        super().__init__(outside)
        self.after = after


def the_fates(chance: Random, redemptions: Sequence[str], misfortune: float) -> Fates:
    """Some of the redemptions draw something bad; `misfortune`: how many times as often as they mostly do."""

    def some(share: float) -> frozenset[str]:
        return frozenset(each for each in redemptions if chance.random() < share * misfortune)

    deadly: Any = some(0.03)
    return Fates(some(0.06), some(0.05), some(0.04), some(0.04), some(0.04), deadly)
