"""What a night in production can do to a deployment. Each fault ends with everything up again."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

from tests.chaos.deployment import LEASE_SECONDS, SESSION_SECONDS, WORKERS, Deployment
from tests.chaos.outside import Outside
from tests.chaos.proxy import Weather
from tests.end_to_end.clock import set_ahead
from tests.end_to_end.processes import Running

FROZEN_SECONDS = max(SESSION_SECONDS, LEASE_SECONDS) + 3
JUMPS = (-86_400.0, -90.0, 0.0, 90.0, 7_200.0, 40 * 86_400.0)
"""Seconds."""
SLOTS = Outside.concurrency
ALL_SLOTS = WORKERS * SLOTS
"""Calls whose outcome is unknown when what every worker needs breaks."""


class Toll(NamedTuple):
    """Which repeated calls to the outside a fault explains."""

    calls: int = 0
    """So many, whichever they are."""
    since: float | None = None
    """And all that were made since then."""


Fault = Callable[[Deployment, Random], Toll]


def worker_killed(deployment: Deployment, chance: Random) -> Toll:
    place = chance.randrange(WORKERS)
    deployment.workers[place].kill()
    time.sleep(chance.choice((0, 1, SESSION_SECONDS + 2)))
    deployment.start_worker(place)
    return Toll(SLOTS)


def worker_stopped(deployment: Deployment, chance: Random) -> Toll:
    place = chance.randrange(WORKERS)
    ended_well(deployment.workers[place])
    deployment.start_worker(place)
    return Toll()


def all_workers_killed(deployment: Deployment, chance: Random) -> Toll:
    for worker in deployment.workers.values():
        worker.kill()
    for place in deployment.workers:
        deployment.start_worker(place)
    return Toll(ALL_SLOTS)


def door_killed(deployment: Deployment, chance: Random) -> Toll:
    place = chance.choice(list(deployment.doors))
    deployment.doors[place].kill()
    deployment.start_door(place)
    return Toll()


def door_stopped(deployment: Deployment, chance: Random) -> Toll:
    place = chance.choice(list(deployment.doors))
    ended_well(deployment.doors[place])
    deployment.start_door(place)
    return Toll()


def worker_frozen(deployment: Deployment, chance: Random) -> Toll:
    """Longer than its session and its leases last."""
    worker = deployment.workers[chance.randrange(WORKERS)]
    worker.send(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    worker.send(signal.SIGCONT)
    return Toll(SLOTS)


def clocks_jump(deployment: Deployment, chance: Random) -> Toll:
    """Of some machines, ahead or back, and for as long as the run lasts: what is due when, and whose a lease
    is, the database's clock says."""
    clocks = list(deployment.clocks.values())
    for clock in chance.sample(clocks, chance.randint(1, len(clocks))):
        set_ahead(clock, chance.choice(JUMPS))
    return Toll()


def broker_killed(deployment: Deployment, chance: Random) -> Toll:
    deployment.kafka.kill()
    time.sleep(chance.uniform(0, 3))
    deployment.start_kafka()
    return Toll()


def broker_frozen(deployment: Deployment, chance: Random) -> Toll:
    deployment.kafka.freeze()
    time.sleep(chance.uniform(2, 8))
    deployment.kafka.thaw()
    return Toll()


def broker_unreachable(deployment: Deployment, chance: Random) -> Toll:
    with weather(deployment, chance.choice((Weather.SILENT, Weather.AWAY))):
        time.sleep(chance.uniform(1, 10))
    return Toll()


def broker_far_away(deployment: Deployment, chance: Random) -> Toll:
    with weather(deployment, Weather.SLOW):
        time.sleep(chance.uniform(3, 8))
    return Toll()


def broker_connections_reset(deployment: Deployment, chance: Random) -> Toll:
    for _ in range(chance.randint(1, 4)):
        deployment.wire.reset()
        time.sleep(chance.uniform(0, 1))
    return Toll()


def broker_connections_half_closed(deployment: Deployment, chance: Random) -> Toll:
    deployment.wire.half_close()
    time.sleep(chance.uniform(0, 3))
    return Toll()


def database_restarted(deployment: Deployment, chance: Random) -> Toll:
    deployment.postgres.stop()
    time.sleep(chance.uniform(0, 4))
    deployment.postgres.start()
    return Toll(ALL_SLOTS)


def database_connections_cut(deployment: Deployment, chance: Random) -> Toll:
    for _ in range(chance.randint(1, 5)):
        deployment.cut_database_connections()
        time.sleep(chance.uniform(0, 0.5))
    return Toll(ALL_SLOTS)


def database_restored(deployment: Deployment, chance: Random) -> Toll:
    """Set back to what it was some seconds ago, under the feet of those who use it."""
    since = time.monotonic()
    copy = f"copy_{int(since * 1000)}"
    deployment.postgres.copy(deployment.database, copy)
    time.sleep(chance.uniform(3, 8))
    deployment.postgres.restore(copy, deployment.database)
    return Toll(ALL_SLOTS, since)


def workers_rolled(deployment: Deployment, chance: Random) -> Toll:
    """A new release, one worker after the other."""
    for place in list(deployment.workers):
        ended_well(deployment.workers[place])
        deployment.start_worker(place)
        deployment.wait_ready()
    return Toll()


def workers_scaled(deployment: Deployment, chance: Random) -> Toll:
    """Down to one and up again."""
    gone = list(deployment.workers)[1:]
    for place in gone:
        ended_well(deployment.workers[place])
    time.sleep(chance.uniform(0, 4))
    for place in gone:
        deployment.start_worker(place)
    return Toll()


def partitions_added(deployment: Deployment, chance: Random) -> Toll:
    if deployment.partitions < 20:
        deployment.add_partitions(chance.randint(1, 3))
    return Toll()


FAULTS: tuple[Fault, ...] = (
    worker_killed,
    worker_stopped,
    all_workers_killed,
    door_killed,
    door_stopped,
    worker_frozen,
    clocks_jump,
    broker_killed,
    broker_frozen,
    broker_unreachable,
    broker_far_away,
    broker_connections_reset,
    broker_connections_half_closed,
    database_restarted,
    database_connections_cut,
    database_restored,
    workers_rolled,
    workers_scaled,
    partitions_added,
)


@contextmanager
def weather(deployment: Deployment, kind: Weather) -> Iterator[None]:
    deployment.wire.set(kind)
    yield
    deployment.wire.set(Weather.FAIR)


def ended_well(running: Running) -> None:
    """Told to end, it ends by itself and with exit code 0, whatever is going on."""
    code = running.stop()
    assert code == 0, (code, running.err[-3000:])
