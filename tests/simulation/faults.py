"""What can happen to a simulated world, each drawn by the seed at its time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.simulation.group import SESSION_SECONDS
from tests.simulation.loop import Machine
from tests.simulation.process import Process

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
    await world.operator.replay()


async def paused(world: Any) -> None:
    """An operator has a handler stand still for a while."""
    handler = world.chance.choice(("loyalty", *world.weather.handlers))
    await world.operator.pause(handler)
    await asyncio.sleep(world.chance.random() * 3)
    await world.operator.resume(handler)


async def pruned(world: Any) -> None:
    """An operator removes what nobody needs any more."""
    await world.operator.prune()


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
    paused: 2,
    pruned: 2,
}
"""With how often each is drawn."""
