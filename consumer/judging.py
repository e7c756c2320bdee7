"""What becomes of tries that ended, given how other calls to the same dependency went, in all workers.

An effect dies of a dependency that does not answer only while that answers others. While it answers nobody
its breaker is open: tries are taken back, and the effect waits however long the outage is.
"""

from collections.abc import Iterable, Mapping, Sequence

import structlog

from consumer.breaker import Call, after, answers_others, opened
from consumer.calls import Called
from consumer.endings import Ended, held_back
from handlers.terms import Retry
from storage.breakers import Breaker, Signals, lock_breakers, outages_of, store_breakers, store_outage
from storage.database import Transaction
from storage.effects import Mark
from storage.schema import State

log = structlog.get_logger(__name__)

ANSWER_NOTED_MS = 5_000
"""How old the note of a dependency's last answer may get while it answers."""


async def judge(
    transaction: Transaction,
    ended: Sequence[Ended],
    retry: Retry,
    signals: Signals,
    probes: Mapping[Mark, str],
) -> tuple[list[Ended], dict[str, Breaker]]:
    """The endings as they are to be stored, and the breakers as they are now.

    `probes`: effects of ours that may be called although a breaker is open. Locks breakers only when there is
    something to say about them.
    """
    breakers = dict(signals.breakers)
    calls = _calls(ended)
    probed = {probes[one.lease.mark] for one in ended if one.lease.mark in probes}
    probed |= {name for one in ended for name in one.probed}
    matters = {name for name in calls if _matters(breakers.get(name), calls[name], signals.now)} | probed
    if matters:
        locked = await lock_breakers(transaction, matters)
        for name, before in locked.items():
            breakers[name] = after(before, calls.get(name, ()), signals.now, probed=name in probed)
    overaged = await _overaged(transaction, ended, retry, signals.now)
    judged = [_judged(one, breakers, overaged, signals.now) for one in ended]
    if matters:
        await store_breakers(transaction, [breakers[name] for name in matters])
        for name, before in locked.items():
            if before.opened_at is not None and breakers[name].opened_at != before.opened_at:
                await store_outage(transaction, name, before.opened_at, signals.now)
    return judged, breakers


def _calls(ended: Iterable[Ended]) -> dict[str, list[Call]]:
    calls: dict[str, list[Call]] = {}
    for one in ended:
        for call in one.calls:
            calls.setdefault(call.dependency, []).append(call.how)
    return calls


def _matters(breaker: Breaker | None, calls: Sequence[Call], now: int) -> bool:
    if Call.UNAVAILABLE in calls:
        return True
    if Call.ANSWERED not in calls:
        return False
    if breaker is None or breaker.failures or breaker.is_open:
        return True
    return breaker.answered_at is None or now - breaker.answered_at >= ANSWER_NOTED_MS


def _judged(ended: Ended, breakers: dict[str, Breaker], overaged: set[Mark], now: int) -> Ended:
    if not ended.waits or ended.error is None:
        return ended
    last = ended.last or ended.lease.mark in overaged
    name = ended.waits_for or ended.lease.dependency
    own = ended.calls.count(Called(name, Call.UNAVAILABLE))
    if not own:
        return _dead(ended) if last else ended
    breaker = breakers[name]
    if last and not breaker.is_open:
        if answers_others(breaker, own, now):
            return _dead(ended)
        # It has answered nobody lately: as far as anybody can tell it is away.
        breaker = breakers[name] = opened(breaker, now)
    return held_back(ended) if breaker.is_open else ended


def _dead(ended: Ended) -> Ended:
    result = ended.result._replace(state=State.DEAD, wait=0, keeps_bundle=False)
    return ended._replace(result=result, told="dead")


async def _overaged(transaction: Transaction, ended: Sequence[Ended], retry: Retry, now: int) -> set[Mark]:
    """The failed ones that have waited too long already, the time of outages not counted."""
    failed = [one for one in ended if one.waits and one.error is not None]
    if retry.age is None or not failed:
        return set()
    overaged: set[Mark] = set()
    for one in failed:
        since = one.lease.created_at or now
        if now - since > retry.age * 1000:
            away = await outages_of(transaction, one.waits_for or one.lease.dependency, since)
            if now - since - sum(until - begin for begin, until in away) > retry.age * 1000:
                overaged.add(one.lease.mark)
    return overaged
