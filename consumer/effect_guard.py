"""The guard of an effect handler: when too many of its effects die, it stands still and they wait."""

from collections.abc import Sequence
from typing import NamedTuple

from consumer.guard import Crossed, Guard, GuardLimits, Trial
from consumer.letters import sentence_of
from storage.database import Transaction
from storage.handler_states import GUARD, Standing, handler_states, spend_allowance, stop_handler

Fate = Exception | bool
"""What an effect died of; True: it is fine; False: it does not count, being a replay or not at its end."""


class Judgement(NamedTuple):
    """Over effects that ended together."""

    spared: frozenset[int]
    """Which deaths are none: the effects wait until the handler is resumed, and their last try never was."""
    trial: Trial | None
    halt: str | None
    """Why the handler is to stand still."""


class EffectGuard:
    """Owns what this worker has counted of one handler."""

    def __init__(self, handler: str, limits: GuardLimits) -> None:
        self._handler = handler
        self._guard = Guard(limits)

    async def judge(self, transaction: Transaction, fates: Sequence[Fate]) -> Judgement:
        """Count effects that ended, in order. The states are read only when there is a death to judge."""
        deaths = {index: fate for index, fate in enumerate(fates) if isinstance(fate, Exception)}
        counted = [index for index, fate in enumerate(fates) if fate is not False]
        states = await handler_states(transaction) if deaths else {}
        state = states.get(self._handler)
        if state is not None and state.standing is Standing.HALTED:
            return Judgement(frozenset(deaths), None, None)  # they were under way when it was halted
        trial = self._guard.trial(states)
        try:
            trial.judge(self._handler, counted, deaths)
        except Crossed as crossed:
            spared = frozenset(index for index in deaths if index >= crossed.index)
            error = f"{type(crossed.error).__name__}: {sentence_of(crossed.error)}"
            return Judgement(spared, None, f"{crossed.reason}, the last of {error}")
        return Judgement(frozenset(), trial, None)

    async def conclude(self, transaction: Transaction, judgement: Judgement) -> None:
        """Store what was decided: the last thing that the transaction does."""
        if judgement.halt is not None:
            await stop_handler(transaction, self._handler, Standing.HALTED, GUARD, judgement.halt)
        elif judgement.trial is not None:
            for handler, deaths in judgement.trial.spent.items():
                await spend_allowance(transaction, handler, deaths)

    def accept(self, judgement: Judgement) -> None:
        """The transaction is committed."""
        if judgement.trial is not None:
            self._guard.accept(judgement.trial)
