"""What must be true of the calls to the outside: made, not made twice, in turn, for what was meant."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tests.simulation.outside import ATTEMPTS, Call

DONE, DEAD, SKIPPED = 0, 2, 3
CALLERS = ("caller", "payer")
UNANSWERED = (None, "not sent", "unknown")
LEASE_SLACK = 1.5
"""Seconds out of touch after which a lease may run out: it is renewed that late at the earliest."""


class Fate(NamedTuple):
    """An effect's row."""

    state: int | None
    generation: int


UNKNOWN = Fate(None, 0)


class CallJudge:
    """Compares the calls that the outside remembers with the effects' rows."""

    def __init__(
        self,
        world: Any,
        events: Sequence[tuple[str, str]],
        effects: Mapping[tuple[str, str, str], Fate],
    ) -> None:
        """`events`: redemption and kind; `effects` by handler, redemption and kind."""
        self._world = world
        self._fates = world.outside.fates
        self._events = events
        self._effects = effects

    def faults(self) -> Iterator[str]:
        """Each event's calls were made and answered; repeated only where nobody could know."""
        calls: dict[str, list[Call]] = defaultdict(list)
        for call in self._world.outside.calls:
            calls[call.key].append(call)
        active = [name for name in CALLERS if name in self._world.weather.handlers]
        for name in active:
            for redemption, kind in self._events:
                made = calls.get(f"{name}:default:{kind}:{redemption}", [])
                fate = self._effects.get((name, redemption, kind), UNKNOWN)
                for wrong in self._wrong_end(name, redemption, made, fate.state):
                    yield f"the call of {name} for {redemption} {kind} {wrong}"
                yield from self._repeats(made, fate.generation)
        for redemption, kind in self._events:
            one, other = (calls.pop(f"{name}:default:{kind}:{redemption}", []) for name in CALLERS)
            if "caller" in active:
                yield from self._in_turn(one, other)
            yield from self._careful(
                other, self._effects.get(("payer", redemption, kind), UNKNOWN).generation
            )
        if calls:
            yield f"calls nobody asked for: {sorted(calls)}"

    def _wrong_end(self, name: str, redemption: str, made: list[Call], state: int | None) -> Iterator[str]:
        answers = [call.answer for call in made]
        wanted = {DONE: "ok", SKIPPED: "skipped"}.get(-1 if state is None else state)
        if state == DEAD:
            if not self._deserved(answers, 1 if name == "payer" else ATTEMPTS):
                yield f"is dead after {answers}"
        elif wanted is None:
            yield f"ended as {state}"
        elif wanted not in answers:
            yield f"is {wanted} and was never made"
        if state == SKIPPED and redemption not in self._fates.skipped_call:
            yield "was skipped"

    def _deserved(self, answers: list[str | None], failures: int) -> bool:
        # A claim counts the try beforehand: lost with its worker or with the answer to its commit, it counts.
        away = sum(1 for machine, _, _ in self._world.troubles if machine)
        failed = sum(answer != "ok" for answer in answers)
        return "refused" in answers or failed + away + self._leases_lost >= failures

    @property
    def _leases_lost(self) -> int:
        """Of one effect, at most, though their holders were well. A backup holds leases of before."""
        counted, jumps = self._world.store.counted, self._world.counted["database clock jumped"]
        return int(counted["commit's answer lost"] + self._world.watcher.restores + jumps)

    def _repeats(self, made: list[Call], generation: int) -> Iterator[str]:
        if any(call.number > ATTEMPTS for call in made):
            yield f"{made[0].key} was called more than {ATTEMPTS} times"
        if self._world.watcher.restores:
            return  # what an older database has forgotten is done again
        again = [
            (before, after)
            for number in {call.number for call in made}
            for before, after in pairwise(call for call in made if call.number == number)
            if before.answer not in UNANSWERED and not self._explained(before, after)
        ]
        if len(again) > generation:  # each replay begins to count anew
            yield f"{made[0].key} was called for one try twice: {again}"
        for before, after in pairwise(made):
            over = before.ended is not None and before.ended <= after.began
            known = over and before.answer not in ("ok", "skipped")
            if not known and not self._explained(before, after):
                yield f"{after.key} was called again: {before}, {after}"

    def _careful(self, made: list[Call], generation: int) -> Iterator[str]:
        """Repeated where it was surely not carried out, or an operator asked for it."""
        again = [(before, after) for before, after in pairwise(made) if before.answer != "not sent"]
        if len(again) > generation and not self._world.watcher.restores:
            yield f"{made[0].key} was called again without being asked for: {again}"

    def _in_turn(self, first: list[Call], then: list[Call]) -> Iterator[str]:
        """Nobody is called before the handler ahead has tried."""
        if then and not any(call.began < then[0].began for call in first) and not self._gave_up(then[0]):
            yield f"{then[0].key} was called before its turn"

    def _gave_up(self, before: Call) -> bool:
        """Whether enough workers were lost by then for an effect to die of it without a call."""
        gone = [since for machine, since, _ in self._world.troubles if machine and since < before.began]
        return len(gone) + self._leases_lost >= ATTEMPTS

    def _explained(self, before: Call, after: Call) -> bool:
        """Whether the first caller was gone, or out of touch for longer than its lease."""
        away = 0.0
        if any(before.began <= jump <= after.began for jump in self._world.jumps):
            return True  # leases ended before their time
        for machine, since, seconds in self._world.troubles:
            if machine in (None, before.machine):
                away += max(0.0, min(after.began, since + seconds) - max(before.began, since))
        return away > LEASE_SLACK
