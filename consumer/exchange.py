"""One transaction of a delivery: stores what ended, keeps what is held, leases what is due."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from consumer.claims import Claims, TakeOver
from consumer.effect_guard import EffectGuard, Fate
from consumer.endings import Ended, held_back, put_off, unfit
from consumer.guard import UNGUARDED, GuardLimits
from consumer.judging import judge
from consumer.letters import DEAD_LETTER_TOPIC
from consumer.switches import Switches
from consumer.work import Buried, Work
from events.runtime import Runtime
from storage.breakers import read_signals
from storage.database import Database, Transaction
from storage.effects import Mark
from storage.leases import Lease, Result, renew_leases, store_results

PREDECESSOR_SECONDS = 5.0
"""How soon an effect whose turn has not come is looked at again."""


class Order(NamedTuple):
    """What a transaction is to do."""

    ended: Sequence[Ended]
    held: Sequence[Lease]
    """To be renewed."""
    wants: int
    """How many to lease."""
    at_once: int
    """So many of them begin at once."""
    over: TakeOver
    lease_seconds: float
    settling_seconds: float
    """Having had no database, others are given so long to store what they did before it is taken over."""


class Exchanged(NamedTuple):
    """What one transaction brought."""

    leases: list[Lease]
    loads: dict[Mark, Any]
    lost: list[Lease]
    early: list[Ended]
    """Claimed, but it is not their turn."""
    more: bool
    """There may be more to claim at once."""
    more_lost: bool
    """Lost workers may have left more."""


class Exchange:
    """Owns what a delivery has counted and claimed, beside the attempts themselves."""

    def __init__(
        self,
        work: Work,
        database: Database,
        owner: str,
        switches: Switches,
        runtime: Runtime,
        limits: GuardLimits,
    ) -> None:
        self._work = work
        self._database = database
        self._owner = owner
        self._switches = switches
        self._runtime = runtime
        self._claims = Claims(work, owner)
        # A letter that the dead-letter topic does not take is no less a letter: nothing is to be guarded.
        self._guard = EffectGuard(work.handler, UNGUARDED if work.handler == DEAD_LETTER_TOPIC else limits)

    @property
    def probes(self) -> Mapping[Mark, str]:
        """Effects of ours that may be called although a breaker is open, with its dependency."""
        return self._claims.probes

    async def carry_out(self, order: Order) -> Exchanged:
        """Raises Unavailable: then it may have been carried out or not, and is to be again."""
        since = self._claims.lose_touch()
        now = self._runtime.monotonic()
        is_settled = since is not None and now - since >= order.settling_seconds
        over = order.over if is_settled else TakeOver.NOTHING
        async with self._database.transaction() as transaction:
            signals = await read_signals(transaction, self._work.handler)
            retry = self._work.terms.retry
            judged, breakers = await judge(transaction, order.ended, retry, signals, self._claims.probes)
            judgement = await self._guard.judge(transaction, [fate_of(one) for one in judged])
            judged = [held_back(one) if at in judgement.spared else one for at, one in enumerate(judged)]
            signals = signals._replace(
                breakers=breakers, stopped=signals.stopped or judgement.halt is not None
            )
            doors = await self._claims.look(transaction, signals, self._switches.asked)
            await self._store(transaction, judged)
            # Before others are leased: ours must not look expired, for then we would lease them once more.
            held = await renew_leases(transaction, self._owner, order.held, order.lease_seconds)
            claimed = await self._claims.claim(
                transaction, doors, order.wants, order.at_once, order.lease_seconds, over
            )
            loads = await self._work.load(transaction, claimed.leases) if claimed.leases else {}
            early = await self._early(transaction, claimed.leases, loads)
            await self._guard.conclude(transaction, judgement)
        self._guard.accept(judgement)
        self._claims.touch(now if since is None else since)
        self._claims.settle(claimed, judged)
        self._switches.set(signals, doors.due)
        return Exchanged(
            [lease for lease in claimed.leases if lease.mark not in early],
            loads,
            [lease for lease in order.held if lease.mark not in held],
            list(early.values()),
            # Were there more, it would be no more their turn.
            claimed.more and not early,
            claimed.more_lost,
        )

    async def _early(
        self, transaction: Transaction, leases: Sequence[Lease], loads: Mapping[Mark, Any]
    ) -> dict[Mark, Ended]:
        """Claimed effects whose predecessors have not settled: to be put off."""
        predecessors = self._work.predecessors
        if predecessors is None or not loads:
            return {}
        waiting = await predecessors.unsettled(transaction, loads)
        told = f"deferred: waits for {', '.join(sorted(predecessors.handlers))}"
        return {
            lease.mark: put_off(lease, loads[lease.mark], PREDECESSOR_SECONDS, told)
            for lease in leases
            if lease.mark in waiting and not unfit(lease, loads[lease.mark], self._work.terms)
        }

    async def _store(self, transaction: Transaction, judged: Sequence[Ended]) -> None:
        await transaction.learn({one.waits_for for one in judged if one.waits_for is not None})
        ours = await store_results(transaction, self._owner, [_result(transaction, one) for one in judged])
        told = [one for one in judged if one.lease.mark in ours]
        buried = [
            Buried(one.lease._replace(attempts=one.result.attempts), one.load, one.error)
            for one in told
            if not one.waits and one.error is not None
        ]
        if buried:
            await self._work.bury(transaction, buried)
        await self._work.settle(transaction, told)


def _result(transaction: Transaction, ended: Ended) -> Result:
    if ended.waits_for is None:
        return ended.result
    return ended.result._replace(dependency=transaction.names.id(ended.waits_for))


def fate_of(ended: Ended) -> Fate:
    """For the guard. A replay that dies again loses nothing: its letter is there."""
    if ended.waits or ended.lease.generation:
        return False
    return ended.error or True
