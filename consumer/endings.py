"""How tries at effects end: what is stored of each, and what it says about the dependency that was called."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from consumer.breaker import Call
from consumer.letters import sentence_of
from events.failures import Refused, Unavailable
from handlers.protocol import Skipped
from handlers.terms import Retry
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
    """What `Work.load` gave for it, or None."""
    result: Result
    told: str
    """What to count it as: done, skipped, deferred, failed, dead, returned."""
    calls: tuple[Call, ...] = ()
    """How each call of this try went, the last one last."""
    error: Exception | None = None
    last: bool = False
    """A failed one that was the last by its schedule."""

    @property
    def waits(self) -> bool:
        return self.result.state is State.PENDING


def done(lease: Lease, load: Any, answer: object, calls: Sequence[Call]) -> Ended:
    # Whatever else a handler returns, it returned: the call was made.
    tries = lease.attempts + len(calls)
    if isinstance(answer, Skipped):
        result = Result(lease, State.SKIPPED, tries, error=clean(answer.reason))
        return Ended(lease, load, result, "skipped", tuple(calls))
    return Ended(lease, load, Result(lease, State.DONE, tries), "done", (*calls, Call.ANSWERED))


def put_off(lease: Lease, load: Any, seconds: float, told: str | None) -> Ended:
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
    )


def again(
    lease: Lease, load: Any, error: Exception, calls: Sequence[Call], retry: Retry, random: float
) -> Ended:
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
    return Ended(lease, load, result, "failed", tuple(calls), error, last)


def given_up(lease: Lease, load: Any, error: Exception, calls: Sequence[Call]) -> Ended:
    result = Result(lease, State.DEAD, _tries(lease, calls), error=told_of(error))
    return Ended(lease, load, result, "dead", tuple(calls), error)


def held_back(ended: Ended) -> Ended:
    """It failed, and waits for better times: this try never was."""
    result = ended.result._replace(
        state=State.PENDING, attempts=ended.lease.attempts - 1, wait=0, keeps_bundle=True
    )
    return ended._replace(result=result, told="failed")


def _tries(lease: Lease, calls: Sequence[Call]) -> int:
    """With the failed calls of this one; a try that ended without a call was one all the same."""
    return lease.attempts + max(0, len(calls) - 1)


def unknown(why: str) -> Refused:
    return Refused("outcome_unknown", f"{why}: perhaps it was carried out, and is not repeated")


def call_of(error: Exception) -> Call:
    if isinstance(error, Refused) and error.answered:
        return Call.ANSWERED
    # OSError: connections that fail, and time-outs, ours included.
    return Call.UNAVAILABLE if isinstance(error, (Unavailable, OSError)) else Call.NEITHER


def told_of(error: Exception) -> str:
    return f"{type(error).__name__}: {sentence_of(error)}"
