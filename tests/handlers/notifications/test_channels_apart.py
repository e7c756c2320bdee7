"""A channel that is away holds up no other, uses up no tries, and gets everything when it is back."""

from collections import Counter

import pytest

from handlers.notifications.credentials import credentials_of
from handlers.notifications.handler import Notifications
from handlers.notifications.policy_file import parse_policy
from storage.database import Database
from tests.consumer.bench import Bench, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.handlers.notifications.desk import RULE, Clock, webhook
from tests.handlers.notifications.receiver import Receiver, receiving

RETRY = "[retry]\nattempts = 3\nfirst = 0.01\nmax = 0.02\n"
OTHER = '\n[channels.other]\ntype = "webhook"\nurl = "{url}"\n'
COPY = RULE.replace("redeemed", "copy").replace('"crm"', '"other"')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long between probes, nor for what another channel waits for."""
    monkeypatch.setattr("consumer.breaker.PROBE_MS", 50)
    monkeypatch.setattr("consumer.intake.FETCH_SECONDS", 0.02)
    monkeypatch.setattr("consumer.delivery.POLL_SECONDS", 0.02)
    monkeypatch.setattr("handlers.notifications.conclusion.PAUSE", 0.2)


def keys(channel: str, template: str, count: int) -> Counter[str]:
    return Counter(f"notify:default:succeeded:r_{n}:{channel}:{template}" for n in range(1, count + 1))


async def sell(log: ScriptedLog, numbers: range) -> None:
    for number in numbers:
        await log.append(TOPIC, a_success(f"r_{number}"))


async def test_a_channel_that_is_away_holds_up_no_other(database: Database, receiver: Receiver) -> None:
    log = ScriptedLog()
    async with receiving() as other:
        policy = parse_policy(RETRY + webhook(receiver.url) + OTHER.format(url=other.url) + RULE + COPY)
        handler = Notifications(policy, credentials_of(policy, {}), Clock())
        receiver.away = True
        await sell(log, range(1, 41))
        async with handler.opened(database):
            bench = Bench(database, log, effects=[handler])
            async with bench.running():
                await until(lambda: len(other.taken) == 40)
                await until(lambda: bench.metric("breaker_open", dependency="crm") == 1)
                asked = len(receiver.requests)
                await sell(log, range(41, 81))
                await until(lambda: len(other.taken) == 80)
                # Of the new ones none was wasted on it: there are probes, one at a time.
                assert len(receiver.requests) - asked < 40
                assert not bench.metric("breaker_open", dependency="other")
                assert await bench.letters() == []
                receiver.away = False
                await bench.until_idle()
        assert Counter(other.taken) == other.keys == keys("other", "copy", 80)
    assert Counter(receiver.taken) == keys("crm", "redeemed", 80)
    assert await bench.letters() == []


async def test_an_outage_of_everything_ends_in_full_delivery(database: Database, receiver: Receiver) -> None:
    log = ScriptedLog()
    async with receiving() as other:
        policy = parse_policy(RETRY + webhook(receiver.url) + OTHER.format(url=other.url) + RULE + COPY)
        handler = Notifications(policy, credentials_of(policy, {}), Clock())
        receiver.away = other.away = True
        await sell(log, range(1, 41))
        async with handler.opened(database):
            bench = Bench(database, log, effects=[handler])
            async with bench.running():
                for channel in ("crm", "other"):
                    await until(lambda name=channel: bench.metric("breaker_open", dependency=name) == 1)
                # Far more often than the three tries that each has.
                await until(lambda: len(receiver.requests) + len(other.requests) > 80)
                assert await bench.letters() == []
                other.away = False
                await until(lambda: len(other.taken) > 0)
                receiver.away = False
                await bench.until_idle()
        assert Counter(other.taken) == keys("other", "copy", 40)
    assert Counter(receiver.taken) == keys("crm", "redeemed", 40)
    assert await bench.letters() == []
