"""Notifications through a worker's life, by the harness that users test their own handlers with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.runtime import SystemRuntime
from handlers.notifications.credentials import credentials_of
from handlers.notifications.handler import Notifications
from handlers.notifications.policy_file import parse_policy
from handlers.testing import Trial, check_effect_handler, redeemed, rolled_back
from storage.database import Database
from tests.consumer.bench import Bench, a_rollback, a_success
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.handlers.notifications.desk import RULE, UNDONE, webhook
from tests.handlers.notifications.receiver import Receiver, receiving

COPY = RULE.replace("redeemed", "copy")


@asynccontextmanager
async def outside() -> AsyncIterator[Trial]:
    async with receiving() as receiver:
        policy = parse_policy(webhook(receiver.url) + RULE + COPY + UNDONE)

        def make() -> Notifications:
            return Notifications(policy, credentials_of(policy, {}), SystemRuntime())

        yield Trial(make, lambda: sorted(set(receiver.taken)))


async def test_whatever_happens_the_receiver_has_each_key() -> None:
    await check_effect_handler(outside, [redeemed("r_1"), rolled_back("r_1"), redeemed("r_2")])


async def test_an_event_that_no_rule_is_for_stores_no_row(database: Database, receiver: Receiver) -> None:
    log = ScriptedLog()
    policy = parse_policy(webhook(receiver.url) + RULE + 'voucher_types = ["GIFT_VOUCHER"]\n')
    handler = Notifications(policy, credentials_of(policy, {}), SystemRuntime())
    await log.append(TOPIC, a_success("r_1"))
    await log.append(TOPIC, a_rollback("r_1"))
    async with handler.opened(database):
        bench = Bench(database, log, effects=[handler])
        await bench.settle_all()
    assert {name for name, *_ in await bench.effects()} == {"caller", "shop"}
    assert receiver.requests == []
