"""A worker, real channels that fail in every way, and what is true after the storm."""

import asyncio
import random
from collections import Counter

import pytest

from handlers.notifications.credentials import credentials_of
from handlers.notifications.handler import Notifications
from handlers.notifications.policy_file import parse_policy
from storage.database import Database
from storage.schema import State
from tests.consumer.bench import Bench, a_rollback, a_success
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.handlers.notifications.desk import RULE, UNDONE, Clock, webhook
from tests.handlers.notifications.receiver import Receiver, receiving

RETRY = "[retry]\nattempts = 1000\nfirst = 0.01\nfactor = 1.5\nmax = 0.05\n"
BUSY = "HTTP/1.1 429 Slow Down\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"
TROUBLE = [500, 502, 503, 504, 408, 425, BUSY, "reset", "lost", "hang", "hang_taken"]
STAFF = '[channels.staff]\ntype = "slack"\nurl = "{url}"\ntimeout = 2\n'
TO_STAFF = '\n[[rules]]\nname = "large"\non = "succeeded"\nto = "staff"\nchannel = "staff"\n'


def storm(receiver: Receiver, seed: int, count: int) -> None:
    chance = random.Random(seed)
    receiver.answers = [chance.choice(TROUBLE) if chance.random() < 0.4 else 200 for _ in range(count)]


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.intake.FETCH_SECONDS", 0.02)
    monkeypatch.setattr("consumer.delivery.POLL_SECONDS", 0.02)
    # Ten bad answers in a row happen in a storm, and then nobody is to wait for long.
    monkeypatch.setattr("consumer.breaker.PROBE_MS", 50)
    monkeypatch.setattr("handlers.notifications.conclusion.PAUSE", 0.1)


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_the_storm_each_redemption_has_one_accepted_key_per_channel(
    database: Database, log: ScriptedLog, receiver: Receiver, seed: int
) -> None:
    async with receiving() as other:
        text = RETRY + webhook(receiver.url, "timeout = 2") + STAFF.format(url=other.url)
        policy = parse_policy(text + RULE + UNDONE + TO_STAFF)
        handler = Notifications(policy, credentials_of(policy, {}), Clock())
        redemptions = [f"r_{n}" for n in range(1, 61)]
        for redemption in redemptions:
            await log.append(TOPIC, a_success(redemption))
        for redemption in redemptions[:20]:
            await log.append(TOPIC, a_rollback(redemption))
        storm(receiver, seed, 200)
        storm(other, seed + 1, 120)
        async with handler.opened(database):
            bench = Bench(database, log, effects=[handler])
            await bench.settle_all()
        effects = {key: row for key, row in (await bench.effects()).items() if key[0] == "notifications"}
        assert {row[0] for row in effects.values()} == {State.DONE}
        assert len(effects) == 80
        crm = Counter(
            [f"notify:default:succeeded:{one}:crm:redeemed" for one in redemptions]
            + [f"notify:default:rolled_back:{one}:crm:undone" for one in redemptions[:20]]
        )
        staff = Counter(f"notify:default:succeeded:{one}:staff:large" for one in redemptions)
        for channel, keys in ((receiver, crm), (other, staff)):
            taken = Counter(channel.taken)
            assert taken.keys() == keys.keys() == channel.keys.keys()
            # What was taken twice was taken again only because its answer was lost.
            assert taken.total() - len(taken) <= channel.lost
    assert await bench.letters() == []


async def test_a_worker_that_is_killed_repeats_at_most_the_calls_in_flight(
    database: Database, log: ScriptedLog, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.delivery.LEASE_SECONDS", 0.5)
    monkeypatch.setattr("consumer.delivery.SETTLING_SECONDS", 0.0)
    monkeypatch.setattr("consumer.delivery.TAKE_OVER_SECONDS", 0.02)
    copy = RULE.replace("redeemed", "copy")
    policy = parse_policy("concurrency = 4\n" + RETRY + webhook(receiver.url) + RULE + copy)
    for number in range(1, 13):
        await log.append(TOPIC, a_success(f"r_{number}"))
    for kill_after in (1, 4, 9, 15):
        handler = Notifications(policy, credentials_of(policy, {}), Clock())
        killed = Bench(database, log, effects=[handler]).killed_at_the_end()
        async with handler.opened(database), killed:
            await receiver.until(kill_after)
    handler = Notifications(policy, credentials_of(policy, {}), Clock())
    async with handler.opened(database):
        bench = Bench(database, log, effects=[handler])
        async with asyncio.timeout(60):
            await bench.settle_all()
    taken = Counter(receiver.taken)
    assert len(taken) == 24
    assert taken.total() - len(taken) <= 4 * 4  # so many calls were in flight at each of the kills
    # The bench's own handler has fewer tries than there are kills.
    assert [letter for letter in await bench.letters() if letter[0] == "notifications"] == []
