"""What can happen to a simulated world, each drawn by the seed at its time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, NamedTuple

from tests.simulation.broker import BrokerIlls
from tests.simulation.group import SESSION_SECONDS
from tests.simulation.loop import Machine
from tests.simulation.process import Process
from tests.simulation.store import Ills

HURT_SECONDS = 3.0
"""Within these all faults begin."""
IDLE_IN_TRANSACTION_SECONDS = 1.5
"""How long the server lets a frozen worker sit in its transaction, holding everybody up."""
MOST_DOOMED_STEPS = 400

JUMPS = (-86_400.0, -60.0, 60.0, 86_400.0)
"""Of a worker's clock, seconds."""

Fault = Callable[[Any], Awaitable[None]]


def _someone(world: Any) -> tuple[Process, Machine] | None:
    """A worker that runs, and the machine that it is now."""
    alive = [process for process in world.processes if process.running]
    if not alive:
        return None
    process = world.chance.choice(alive)
    return process, process.machine


async def killed(world: Any) -> None:
    """kill -9, now."""
    if found := _someone(world):
        process, machine = found
        world.kill(machine)
        await asyncio.sleep(world.chance.random() * 3)
        world.start(process)


async def killed_at_some_step(world: Any) -> None:
    """kill -9 at one of its next steps, wherever that is."""
    if found := _someone(world):
        process, machine = found
        machine.steps_left = world.chance.randint(1, MOST_DOOMED_STEPS)
        await asyncio.sleep(world.chance.random() * 3)
        world.start(process)


async def stopped(world: Any) -> None:
    """SIGTERM."""
    if found := _someone(world):
        process, _ = found
        process.terminate()
        await process.ended()
        world.start(process)


async def frozen(world: Any) -> None:
    """Not scheduled for a while, at times longer than its session and its leases last."""
    if found := _someone(world):
        (_, machine), chance = found, world.chance
        seconds = chance.random() * chance.choice((1.0, SESSION_SECONDS, 16.0))
        world.troubled(machine, seconds)
        world.troubled(None, min(seconds, IDLE_IN_TRANSACTION_SECONDS))
        machine.frozen = True
        await asyncio.sleep(min(seconds, IDLE_IN_TRANSACTION_SECONDS))
        if seconds > IDLE_IN_TRANSACTION_SECONDS:
            world.store.end_of(machine)
            await asyncio.sleep(min(seconds, SESSION_SECONDS) - IDLE_IN_TRANSACTION_SECONDS)
        if seconds > SESSION_SECONDS:
            world.group.gone(machine)
            await asyncio.sleep(seconds - SESSION_SECONDS)
        if machine.frozen:
            world.loop.thaw(machine)


async def rebalanced(world: Any) -> None:
    world.group.want()


async def thrown_out(world: Any) -> None:
    """The group does not hear of a member that is alive."""
    if found := _someone(world):
        world.group.gone(found[1])


async def database_away(world: Any) -> None:
    seconds = world.chance.random() * 5
    world.troubled(None, seconds)
    world.store.down = True
    world.store.end_all()
    await asyncio.sleep(seconds)
    world.store.down = False


async def database_out_of_reach(world: Any) -> None:
    """For one worker."""
    if found := _someone(world):
        _, machine = found
        seconds = world.chance.random() * world.chance.choice((3.0, 16.0))
        world.troubled(machine, seconds)
        world.store.cut.add(machine)
        await asyncio.sleep(seconds)
        world.store.cut.discard(machine)


async def clock_jumped(world: Any) -> None:
    """Of one worker: all that is due when, and whose a lease is, the database's clock says."""
    if (found := _someone(world)) and found[0].runtime:
        found[0].runtime.skew += world.chance.choice(JUMPS)


async def database_clock_jumped(world: Any) -> None:
    """Ahead for as long as may be, and leases end before their time; back by some seconds, for what is due
    waits so much longer."""
    world.jumps.append(world.loop.time())
    world.store_ahead += world.chance.choice((-5.0, 3.0, 10.0, 3600.0, 86_400.0))


async def log_away(world: Any) -> None:
    world.log.down = True
    await asyncio.sleep(world.chance.random() * 4)
    world.log.down = False


async def log_out_of_reach(world: Any) -> None:
    """For one worker; for so long that the group throws it out."""
    if found := _someone(world):
        _, machine = found
        seconds = world.chance.random() * 6
        world.log.cut.add(machine)
        await asyncio.sleep(seconds)
        if seconds > SESSION_SECONDS:
            world.group.gone(machine)
        world.log.cut.discard(machine)


async def restored(world: Any) -> None:
    """The database is replaced by an older copy of itself, under the running workers."""
    await world.store.free()
    backup = world.store.copy()
    await asyncio.sleep(world.chance.random() * 4)
    world.restore(backup)


async def one_more_partition(world: Any) -> None:
    world.log.grow()
    world.group.want()


async def replayed(world: Any) -> None:
    """An operator replays all open letters."""
    await world.replay()


FAULTS: dict[Fault, int] = {
    killed: 4,
    killed_at_some_step: 8,
    stopped: 3,
    frozen: 5,
    rebalanced: 4,
    thrown_out: 2,
    database_away: 2,
    database_out_of_reach: 4,
    log_away: 2,
    log_out_of_reach: 2,
    restored: 1,
    clock_jumped: 2,
    database_clock_jumped: 1,
    one_more_partition: 1,
    replayed: 3,
}
"""With how often each is drawn."""


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


def unfortunate(chance: Random) -> Weather:
    """Many events are unfit for some handler, and come together when the database is back."""
    return Weather(_timed(chance, [database_away, database_away]), Ills(), BrokerIlls(), 0.1, 0.0, 3.0)


def _timed(chance: Random, faults: list[Fault]) -> list[tuple[float, Fault]]:
    return sorted(((chance.random() * HURT_SECONDS, fault) for fault in faults), key=lambda one: one[0])
