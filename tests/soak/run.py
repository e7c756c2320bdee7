"""One run: a door on a real Kafka under a load that lasts, while the broker dies twice, and then a crowd."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.commands import SECRET
from bench.knocking import opened
from tests.end_to_end.processes import Site, free_port
from tests.services.kafka import Kafka
from tests.soak.load import Answers, Load, Storm
from tests.soak.watching import Lag, Memory

AWAY_SECONDS = 5.0
"""How long the broker stays dead."""
SETTLING_SECONDS = 5.0
"""After it is back: clients and leaders find each other again."""
DEADLINE = 4.0
"""Seconds the log has to confirm; what takes longer is 503."""
ON_THE_WAY = 0.5
WARMING_SECONDS = 3.0
MORE_THAN_BARE = 20.0
GROWTH = 0.05
POLITE_RATE = 5.0
"""Deliveries a second of the sender that keeps to its rate beside the crowd."""
POLITE_FIRST = 900_000_000
"""The number of its first delivery."""
POLITE_SHARE = 0.8
"""Of the crowd's share of accepted deliveries; it sends a hundred, so chance has a say."""
REFUSED_IN_FAIR_WEATHER = 0.01
PARTITIONS = 6


class Plan(NamedTuple):
    seconds: float
    rate: float | None
    """Deliveries a second; None: half of what the door can take."""
    crowd: int
    """Connections of the crowd at the end: more than may wait for the log."""
    crowd_seconds: float
    judged: bool = True
    """Whether times and memory are: only a quiet machine can tell."""


class Result(NamedTuple):
    wrong: list[str]
    """What must not be, however busy the machine is."""
    slow: list[str]
    """What is more than was promised, in seconds or bytes."""
    figures: dict[str, Any]


class Door:
    """An ingress as a process, before a broker that may be killed."""

    def __init__(self, site: Site, kafka: Kafka) -> None:
        self.kafka = kafka
        self.topic = f"soak-{uuid.uuid4().hex[:12]}.events"
        site.set(
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            events_topic=self.topic,
            dead_letters_topic=f"{self.topic}.dead",
            events_partitions=PARTITIONS,
            webhook_secrets=SECRET,
            log_format="json",
        )
        answer = site.ask("topics", "ensure")
        assert answer.code == 0, answer
        self.process = site.start("ingress").wait_ready()
        self.port = site.ingress_port


async def soak(door: Door, plan: Plan) -> Result:
    load = Load(door.port, SECRET)
    rate, bare, accepted = plan.rate, None, list[int]()
    if rate is None:
        accepted += (await load.at_once(64, 8.0)).accepted
        rate = len(accepted) / 8.0 / 2
    if plan.judged:
        async with bare_door() as port:
            alone = Load(port, SECRET)
            bare = (await alone.at_rate(rate, 20.0)).p99()
            alone.close()
        # As many connections as will come when the broker dies: what they need is the door's working set.
        accepted += (await load.at_once(plan.crowd, WARMING_SECONDS)).accepted
    memory, storms = Memory(door.process.pid), list[Storm]()
    watching = asyncio.create_task(memory.watch())
    breaking = asyncio.create_task(_break_twice(door.kafka, plan.seconds, storms))
    answers = await load.at_rate(rate, plan.seconds)
    await breaking
    watching.cancel()
    lag = Lag()
    crowd, polite, frozen = await _crowded(door, load, plan, lag)
    load.close()
    found = await _numbers_in_the_log(door)
    accepted += [*answers.accepted, *crowd.accepted, *polite.accepted]
    lost = [number for number in accepted if number not in found]
    figures = {
        "rate": round(rate),
        "sent": answers.statuses.total(),
        "statuses": dict(answers.statuses),
        "crowd": dict(crowd.statuses),
        "lost": len(lost),
        "share accepted in fair weather": round(answers.share_accepted(storms), 4),
        "p99 in fair weather, ms": round(answers.p99(storms) * 1e3, 1),
        "p99 of the bare server, ms": None if bare is None else round(bare * 1e3, 1),
        "p99 with all weather, slowest, s": [round(answers.p99(), 2), round(answers.slowest, 2)],
        "p99 of the crowd, slowest, s": [round(crowd.p99(), 2), round(crowd.slowest, 2)],
        "a polite sender beside it: statuses": dict(polite.statuses),
        "its p99, slowest, s": [round(polite.p99(), 2), round(polite.slowest, 2)],
        "shares accepted while the broker answers, its and the crowd's": [
            round(each.share_accepted([frozen]), 3) for each in (polite, crowd)
        ],
        "how late the judge itself was, s": round(lag.most, 2),
        "memory, MiB": memory.figures(),
    }
    senders = {"load": answers, "crowd": crowd, "polite": polite}
    slow = [] if bare is None else _slow(answers.p99(storms), bare, senders, memory)
    if plan.judged and polite.share_accepted([frozen]) < POLITE_SHARE * crowd.share_accepted([frozen]):
        slow.append("a sender that keeps to its rate was refused more often than the crowd beside it")
    if plan.judged and answers.share_accepted(storms) < 1 - REFUSED_IN_FAIR_WEATHER:
        slow.append("the load was refused in fair weather")
    return Result(_wrong(senders, lost), slow, figures)


def _wrong(senders: dict[str, Answers], lost: list[int]) -> list[str]:
    wrong = [
        f"{count} answers of {status} ({name})"
        for name, each in senders.items()
        for status, count in each.statuses.items()
        if status not in (202, 503)
    ]
    if without := sum(each.without_retry_after for each in senders.values()):
        wrong.append(f"{without} answers of 503 say not when to come again")
    if lost:
        wrong.append(f"{len(lost)} deliveries got 202 and are not in the log, such as {lost[:5]}")
    if not senders["load"].statuses[503] or not senders["crowd"].statuses[503]:
        wrong.append("nothing was refused: the broker's death or the crowd went unnoticed")
    return wrong


def _slow(p99: float, bare: float, senders: dict[str, Answers], memory: Memory) -> list[str]:
    slow = []
    if p99 > MORE_THAN_BARE * bare:
        slow.append(f"p99 is {p99 / bare:.1f} times that of the bare server")
    for name, each in senders.items():
        if each.slowest > DEADLINE + ON_THE_WAY:
            slow.append(f"an answer took {each.slowest:.1f} s ({name})")
    if memory.growth > GROWTH:
        slow.append(f"memory grew by {memory.growth:.1%} after the warm-up")
    return slow


async def _break_twice(kafka: Kafka, seconds: float, storms: list[Storm]) -> None:
    """At a third and at two thirds of the time."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for share in (1 / 3, 2 / 3):
        await asyncio.sleep(max(0.0, begin + seconds * share - loop.time()))
        killed = loop.time()
        await asyncio.to_thread(kafka.kill)
        await asyncio.sleep(min(AWAY_SECONDS, seconds / 8))
        await asyncio.to_thread(kafka.start)
        storms.append((killed - 1.0, loop.time() + SETTLING_SECONDS))


async def _crowded(door: Door, load: Load, plan: Plan, lag: Lag) -> tuple[Answers, Answers, Storm]:
    """More at once than may wait, one beside them that keeps to its rate, and for a while a broker that
    does not answer at all. Returns the answers of the crowd and of the one, and when the broker was away."""
    loop, alone = asyncio.get_running_loop(), Load(door.port, SECRET, POLITE_FIRST)
    watching = asyncio.create_task(lag.watch())
    crowd = asyncio.create_task(load.at_once(plan.crowd, plan.crowd_seconds))
    polite = asyncio.create_task(alone.at_rate(POLITE_RATE, plan.crowd_seconds))
    await asyncio.sleep(plan.crowd_seconds / 3)
    # What comes shortly before waits for the frozen broker too, and it needs a moment to wake up.
    frozen = loop.time() - 1.0
    door.kafka.freeze()
    await asyncio.sleep(plan.crowd_seconds / 3)
    door.kafka.thaw()
    times = (frozen, loop.time() + SETTLING_SECONDS)
    answers = await crowd, await polite, times
    watching.cancel()
    alone.close()
    return answers


@asynccontextmanager
async def bare_door() -> AsyncIterator[int]:
    """The same server and checks, before a log that confirms at once; its port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.door_without_log", str(port))
    try:
        await opened(port)
        yield port
    finally:
        process.kill()
        await process.wait()


async def _numbers_in_the_log(door: Door) -> set[int]:
    """Of the deliveries, from every record there is."""
    consumer = AIOKafkaConsumer(bootstrap_servers=door.kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    places = [TopicPartition(door.topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    ends, found = await consumer.end_offsets(places), set[int]()
    while any([await consumer.position(each) < ends[each] for each in places]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            found |= {int(record.value.partition(b"r_soak")[2][:9]) for record in records}
    await consumer.stop()
    return found
