"""The weather of a schedule: what befalls it and when, how often calls fail, and which handlers are there."""

from random import Random
from typing import NamedTuple

from tests.simulation.broker import BrokerIlls
from tests.simulation.faults import (
    FAULTS,
    HURT_SECONDS,
    Fault,
    database_away,
    database_out_of_reach,
    frozen,
    killed,
    paused,
    pruned,
    restored,
    thrown_out,
)
from tests.simulation.store import Ills

OURS = ("sales", "caller", "payer")
TEAMS = (OURS, OURS, ("sales", "caller"), ("sales", "payer"), ("sales",), ("caller", "payer"), ("caller",))


class Weather(NamedTuple):
    """What a schedule has to go through."""

    faults: list[tuple[float, Fault]]
    """By the second in which they come."""
    store: Ills
    log: BrokerIlls
    trouble: float
    """How often a call to the outside goes wrong while faults last."""
    slow: float
    """How often one takes long, which is no fault."""
    misfortune: float = 1.0
    """How many times as many events as mostly are unfit for some handler."""
    handlers: tuple[str, ...] = OURS
    """Which of the merchant's the workers run, beside the ledger: fewer leave time for more schedules."""


ESTRANGED = 0.1
"""How often workers lose the database for longer than their leases last, in the middle of slow calls: what
only two that believe in the same lease can break."""


def some_weather(chance: Random) -> Weather:
    if chance.random() < ESTRANGED:
        return estranged(chance)
    handlers = chance.choice(TEAMS)
    kinds = chance.choices(list(FAULTS), list(FAULTS.values()), k=chance.randint(1, 3))
    faults = chance.choices(kinds, k=chance.randint(1, 5))
    slow, misfortune = chance.choice((0.0, 0.05, 0.5)), chance.choice((0.5, 1.0, 1.0, 3.0))
    if chance.random() < 0.3:
        return Weather(_timed(chance, faults), Ills(), BrokerIlls(), 0.1, slow, misfortune, handlers)
    share = chance.choice((0.003, 0.01, 0.03))
    store = Ills(share, share, share * 2, share * 5)
    log = BrokerIlls(share * 2, share * 2, share * 2)
    trouble = chance.choice((0.05, 0.3))
    return Weather(_timed(chance, faults), store, log, trouble, slow, misfortune, handlers)


def estranged(chance: Random) -> Weather:
    handlers = ("caller", "payer")
    return Weather(
        _timed(chance, [database_out_of_reach] * 3), Ills(), BrokerIlls(), 0.1, 0.6, handlers=handlers
    )


def antiquated(chance: Random) -> Weather:
    """Backups are restored, and workers are killed."""
    return Weather(_timed(chance, [restored, killed, restored]), Ills(), BrokerIlls(), 0.0, 0.0, 0.0)


def restless(chance: Random) -> Weather:
    """Partitions move while the database is away, so that batches outlive their assignment."""
    faults: list[Fault] = [thrown_out, database_away, thrown_out, frozen, thrown_out]
    return Weather(_timed(chance, faults), Ills(commit=0.05, lost_commit=0.3), BrokerIlls(), 0.0, 0.0)


def stammering(chance: Random) -> Weather:
    """Batches are tried again and again, and workers are killed between any two."""
    return Weather(_timed(chance, [killed] * 6), Ills(commit=0.4, statement=0.02), BrokerIlls(), 0.0, 0.0)


def governed(chance: Random) -> Weather:
    """An operator is at work."""
    faults: list[Fault] = [paused, pruned, killed, paused, pruned]
    return Weather(_timed(chance, faults), Ills(), BrokerIlls(), 0.2, 0.3, 0.5)


def unfortunate(chance: Random) -> Weather:
    """Many events are unfit for some handler, and come together when the database is back."""
    return Weather(_timed(chance, [database_away, database_away]), Ills(), BrokerIlls(), 0.1, 0.0, 3.0)


def _timed(chance: Random, faults: list[Fault]) -> list[tuple[float, Fault]]:
    return sorted(((chance.random() * HURT_SECONDS, fault) for fault in faults), key=lambda one: one[0])
