"""How tries at effects end: what is stored of each, and what it says about the dependency that was called."""

from typing import Any, NamedTuple

from consumer.calls import Called, Calls
from consumer.letters import sentence_of
from events.failures import Away, Refused, Unavailable
from handlers.protocol import Skipped
from handlers.terms import Retry, Terms
from storage.dead_letters import clean
from storage.leases import Lease, Result
from storage.schema import State

LONGEST_WAIT = 7 * 24 * 3600.0
"""Seconds; whatever a dependency asks for, it is asked again within a week."""
MOVES_AFTER = 60.0
"""Seconds; the record of an effect that waits longer gets a row of its own, not to keep a whole bundle."""


class Ended(NamedTuple):
    """A try that ended, to be stored."""

    lease: Lease
    """As it was claimed."""
    load: Any
    """What `Work.load` gave for it, or None: so also if it is done, when nobody needs it, and it is large."""
    result: Result
    told: str
    """What to count it as: done, skipped, deferred, failed, dead, returned."""
    calls: tuple[Called, ...] = ()
    """How each call of this try went, the last one last."""
    probed: frozenset[str] = frozenset()
    """Dependencies among these that were called to find out whether they are back."""
    waits_for: str | None = None
    """What it depends on from now on; None: the same."""
    error: Exception | None = None
    last: bool = False
    """A failed one that was the last by its schedule."""

    @property
    def waits(self) -> bool:
        return self.result.state is State.PENDING


def done(lease: Lease, answer: object, calls: Calls) -> Ended:
    # Whatever else a handler returns, it returned: the call was made.
    state, told, error = State.DONE, "done", None
    if isinstance(answer, Skipped):
        state, told, error = State.SKIPPED, "skipped", clean(answer.reason)
    result = Result(lease, state, lease.attempts + calls.runs, error=error)
    return Ended(lease, None, result, told, tuple(calls.made), frozenset(calls.probed))


def put_off(lease: Lease, load: Any, seconds: float, told: str | None, calls: Calls | None = None) -> Ended:
    """Later, and this try never was."""
    wait = max(0.0, min(seconds, LONGEST_WAIT))
    return Ended(
        lease,
        load,
        Result(
            lease,
            State.PENDING,
            lease.attempts - 1,
            wait=int(wait * 1000),
            error=None if told is None else clean(told),
            keeps_bundle=wait <= MOVES_AFTER,
        ),
        "returned" if told is None else "deferred",
        *((tuple(calls.made), frozenset(calls.probed)) if calls else ()),
    )


def away(lease: Lease, load: Any, error: Away, calls: Calls) -> Ended:
    """When what it depends on is back."""
    return put_off(lease, load, 0.0, f"deferred: {error}", calls)._replace(waits_for=error.dependency)


def again(lease: Lease, load: Any, error: Exception, calls: Calls, retry: Retry, random: float) -> Ended:
    """Later, by schedule: full jitter, and not before the dependency wishes."""
    tries = _tries(lease, calls)
    wait = retry.wait(tries, random)
    if isinstance(error, Unavailable) and error.retry_after is not None:
        wait = max(wait, error.retry_after)
    wait = min(wait, LONGEST_WAIT)
    result = Result(
        lease,
        State.PENDING,
        tries,
        wait=int(wait * 1000),
        error=told_of(error),
        keeps_bundle=wait <= MOVES_AFTER,
    )
    last = retry.attempts is not None and tries >= retry.attempts
    blamed = calls.blamed_for(error)
    probed = frozenset(calls.probed)
    return Ended(lease, load, result, "failed", tuple(calls.made), probed, blamed, error, last)


def given_up(lease: Lease, load: Any, error: Exception, calls: Calls) -> Ended:
    result = Result(lease, State.DEAD, _tries(lease, calls), error=told_of(error))
    return Ended(lease, load, result, "dead", tuple(calls.made), frozenset(calls.probed), error=error)


def unfit(lease: Lease, load: Any, terms: Terms) -> Refused | None:
    """Why a claimed effect is not to be run (any more): to be given up, not put off, for who claims it next
    does not learn that it was taken over."""
    most = terms.retry.attempts
    if load is None:
        return Refused("payload_missing", "the record behind this effect is gone")
    if lease.taken_over and terms.on_unknown == "give_up":
        return unknown("its worker was lost in the middle of the call")
    if lease.taken_over and most is not None and lease.attempts > most:
        # Every try so far ended with its worker: perhaps it is what ends them.
        return Refused("attempts_used_up", f"no answer from any of {most} tries")
    return None


def held_back(ended: Ended) -> Ended:
    """It failed, and waits for better times: this try never was."""
    result = ended.result._replace(
        state=State.PENDING, attempts=ended.lease.attempts - 1, wait=0, keeps_bundle=True
    )
    return ended._replace(result=result, told="failed")


def _tries(lease: Lease, calls: Calls) -> int:
    """With those that followed at once; a try that ended without a run was one all the same."""
    return lease.attempts + max(0, calls.runs - 1)


def unknown(why: str) -> Refused:
    return Refused("outcome_unknown", f"{why}: perhaps it was carried out, and is not repeated")


def told_of(error: Exception) -> str:
    return f"{type(error).__name__}: {sentence_of(error)}"
