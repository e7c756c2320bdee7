"""Several calls of one event, and calls that wait, are cancelled, capped, or made for a whole stack."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from events.event import RedemptionEvent
from events.failures import Refused, Unavailable
from handlers.protocol import Deferred, Skipped
from tests.handlers.deliveries import a_rollback, a_sale, with_body
from tests.handlers.notifications.desk import RULE, UNDONE, Desk, webhook
from tests.handlers.notifications.receiver import Receiver, receiving

SECOND = '\n[[rules]]\nname = "copy"\non = "succeeded"\nchannel = "crm"\n'
SETTLED = RULE + "settle = 20\n"


def key(redemption: str, template: str = "redeemed", kind: str = "succeeded") -> str:
    return f"notify:default:{kind}:{redemption}:crm:{template}"


async def test_of_two_calls_only_the_one_that_failed_is_repeated(desk: Desk, receiver: Receiver) -> None:
    receiver.answers = [200, 503]
    async with desk.open(webhook(receiver.url) + RULE + SECOND):
        with pytest.raises(Unavailable):
            await desk.tell(a_sale())
        assert await desk.tell(a_sale(), number=2) is None
    assert receiver.keys == {key("r_1"): 1, key("r_1", "copy"): 2}


async def test_a_call_that_is_refused_does_not_keep_the_others_from_being_made(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.answers = [400, 503, 200]
    async with desk.open(webhook(receiver.url) + RULE + SECOND):
        with pytest.raises(Unavailable):
            await desk.tell(a_sale())
        with pytest.raises(Refused):  # told once nothing else is left to do
            await desk.tell(a_sale(), number=2)
        assert receiver.keys == {key("r_1"): 1, key("r_1", "copy"): 2}
        with pytest.raises(Refused):  # a first try is not a replay: not all tries count
            await desk.tell(a_sale(), number=1)
        assert receiver.keys[key("r_1")] == 1
        # Replayed: only the one that was refused.
        assert await desk.tell(a_sale(), generation=1) is None
    assert receiver.keys == {key("r_1"): 2, key("r_1", "copy"): 2}


async def test_a_crash_before_the_outcome_is_stored_repeats_the_call_in_flight_alone(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.open(webhook(receiver.url) + RULE + SECOND):
        receiver.answers = [200, "hang_taken"]
        killed = asyncio.create_task(desk.tell(a_sale()))
        await receiver.until(2)
        killed.cancel()
        await asyncio.wait([killed])
        assert await desk.tell(a_sale(), number=2) is None
    assert receiver.keys == {key("r_1"): 1, key("r_1", "copy"): 2}


async def test_a_stack_is_told_once_and_only_when_it_has_settled(desk: Desk, receiver: Receiver) -> None:
    parent = a_sale("r_0", order="ord_1", total=5_000, voucher=False)
    children = [a_sale(f"r_{n}", order="ord_1", total=5_000, parent="r_0") for n in (1, 2, 3)]
    async with desk.open(webhook(receiver.url) + SETTLED):
        await desk.post(parent, *children)
        stack = [children[1], parent, children[0], children[2]]
        early = [await desk.tell(event) for event in stack]
        assert all(isinstance(each, Deferred) and 15 < each.seconds <= 20 for each in early)
        assert receiver.requests == []
        await settle(desk)
        told = await asyncio.gather(*map(desk.tell, stack))
    assert sorted(map(str, told)) == ["None"] + ["Skipped(reason='told_with_stack')"] * 3
    assert len(receiver.requests) == 1


async def test_without_a_settle_delay_each_of_a_stack_is_told(sqlite_desk: Desk, receiver: Receiver) -> None:
    events = [a_sale("r_0", voucher=False), a_sale("r_1", parent="r_0"), a_sale("r_2", parent="r_0")]
    async with sqlite_desk.open(webhook(receiver.url) + RULE):
        await sqlite_desk.post(*events)
        assert [await sqlite_desk.tell(event) for event in events] == [None] * 3
    assert receiver.keys == {key("r_0"): 1, key("r_1"): 1, key("r_2"): 1}


async def test_a_stack_that_failed_is_tried_again_by_whoever_began(desk: Desk, receiver: Receiver) -> None:
    first, second = a_sale("r_1", parent="r_0"), a_sale("r_2", parent="r_0")
    receiver.answers = [503]
    async with desk.open(webhook(receiver.url) + SETTLED):
        await desk.post(first, second)
        await desk.tell(first)
        await settle(desk)
        with pytest.raises(Unavailable):
            await desk.tell(first)
        assert await desk.tell(second) == Skipped("told_with_stack")
        assert await desk.tell(first, number=2) is None
    assert receiver.keys == {key("r_1"): 2}


@pytest.mark.parametrize("rollback_first", [False, True])
async def test_what_is_undone_before_it_was_told_is_never_told(
    desk: Desk, receiver: Receiver, rollback_first: bool
) -> None:
    success, rollback = a_sale(), a_rollback()
    async with desk.open(webhook(receiver.url) + SETTLED + UNDONE):
        await desk.post(success)
        assert isinstance(await desk.tell(success), Deferred)
        await desk.post(rollback)
        assert isinstance(await desk.tell(rollback), Deferred)
        await settle(desk)
        expected = {success.kind: Skipped("rolled_back"), rollback.kind: Skipped("rolled_back_unsent")}
        for event in (rollback, success) if rollback_first else (success, rollback):
            assert await desk.tell(event) == expected[event.kind]
    assert receiver.requests == []


async def test_what_was_told_is_taken_back(desk: Desk, receiver: Receiver) -> None:
    success, rollback = a_sale(), a_rollback()
    async with desk.open(webhook(receiver.url) + SETTLED + UNDONE):
        await desk.post(success)
        await desk.tell(success)
        await settle(desk)
        assert await desk.tell(success) is None
        await desk.post(rollback)
        await desk.tell(rollback)
        await settle(desk)
        assert await desk.tell(rollback) is None
    assert list(receiver.keys) == [key("r_1"), key("r_1", "undone", "rolled_back")]


async def test_what_may_have_been_told_is_told_for_sure_and_taken_back(
    desk: Desk, receiver: Receiver
) -> None:
    success, rollback = a_sale(), a_rollback()
    receiver.answers = ["lost"]
    async with desk.open(webhook(receiver.url) + SETTLED + UNDONE):
        await desk.post(success)
        await desk.tell(success)
        await settle(desk)
        with pytest.raises(Unavailable):
            await desk.tell(success)
        await desk.post(rollback)
        await desk.tell(rollback)
        await settle(desk)
        assert await desk.tell(rollback) is None
        assert await desk.tell(success, number=2) is None
    assert receiver.keys == {key("r_1"): 2, key("r_1", "undone", "rolled_back"): 1}


async def test_without_a_settle_delay_nothing_is_cancelled(sqlite_desk: Desk, receiver: Receiver) -> None:
    success, rollback = a_sale(), a_rollback()
    async with sqlite_desk.open(webhook(receiver.url) + RULE + UNDONE):
        await sqlite_desk.post(success, rollback)
        assert [await sqlite_desk.tell(rollback), await sqlite_desk.tell(success)] == [None, None]
    assert len(receiver.requests) == 2


async def test_a_customer_gets_no_more_than_the_cap_within_the_window(desk: Desk, receiver: Receiver) -> None:
    sales = [a_sale(f"r_{n}", order=f"ord_{n}") for n in range(5)]
    async with desk.open(webhook(receiver.url, "cap = 2\ncap_seconds = 3600") + RULE):
        told = await asyncio.gather(*(desk.tell(sale) for sale in sales))
        assert sorted(map(str, told)) == ["None"] * 2 + ["Skipped(reason='over_cap')"] * 3
        assert await desk.tell(a_sale("r_5", customer="bert")) is None
        assert await desk.tell(sales[0], number=2) in (None, Skipped("over_cap"))  # its own does not count
        assert await desk.tell(a_sale("r_6")) == Skipped("over_cap")
        await age_calls(desk, 3601)
        assert await desk.tell(a_sale("r_7")) is None
    assert len(receiver.taken) == 4


async def test_what_was_surely_not_taken_does_not_count_against_the_cap(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.answers = [503, 200]
    async with desk.open(webhook(receiver.url, "cap = 1") + RULE):
        with pytest.raises(Unavailable):
            await desk.tell(a_sale("r_1"))
        assert await desk.tell(a_sale("r_2")) is None
        assert await desk.tell(a_sale("r_1"), number=2) == Skipped("over_cap")


async def test_only_the_first_redemption_of_a_customer_is_told(desk: Desk, receiver: Receiver) -> None:
    sales = [a_sale(f"r_{n}", order=f"ord_{n}", total=1000) for n in range(3)]
    async with desk.open(webhook(receiver.url) + RULE + "first_redemption = true"):
        await desk.post(*sales)
        told = [await desk.tell(sale) for sale in (sales[1], sales[0], sales[2])]
        assert told == [None, Skipped("not_first"), Skipped("not_first")]
        assert await desk.tell(sales[1], number=2) is None
        await desk.post(a_sale("r_8", "bert", "ord_8", 1000))
        async with desk.database.transaction() as transaction:
            await transaction.run("UPDATE entries SET at = at - 1000 WHERE customer_id = 'bert'")
        late = a_sale("r_9", "bert", "ord_9", 1000)
        await desk.post(late)
        assert await desk.tell(late) == Skipped("not_first")  # the ledger knew the customer before
        assert await desk.tell(a_sale("r_10", customer=None)) == Skipped("not_first")


async def test_quiet_hours_put_a_message_off_until_they_end(sqlite_desk: Desk, receiver: Receiver) -> None:
    desk = sqlite_desk
    text = webhook(receiver.url, 'quiet_hours = "21:00-08:00"') + RULE + '[people]\nzone = "metadata.zone"\n'
    at_night = a_sale()
    data = json.loads(at_night.body)
    data["customer"]["metadata"] = {"zone": "Asia/Tokyo"}
    in_tokyo = with_body(a_sale("r_2"), data | {"redemption": {"id": "r_2"}})
    desk.clock.ahead = 86_400 - desk.clock.now() % 86_400  # midnight UTC, nine in the morning in Tokyo
    async with desk.open(text):
        put_off = await desk.tell(at_night)
        assert isinstance(put_off, Deferred)
        assert put_off.reason == "quiet_hours"
        assert 8 * 3600 - 60 < put_off.seconds <= 8 * 3600
        assert await desk.tell(in_tokyo) is None
        desk.clock.ahead += put_off.seconds
        assert await desk.tell(at_night) is None


async def test_while_one_call_waits_another_that_fails_uses_up_no_tries(
    sqlite_desk: Desk, receiver: Receiver
) -> None:
    receiver.answers = [503]
    async with sqlite_desk.open(webhook(receiver.url) + SECOND + SETTLED):
        assert await sqlite_desk.tell(a_sale()) == Deferred(pytest.approx(20, abs=5), "settling")


async def test_what_is_too_old_stays_silent(sqlite_desk: Desk, receiver: Receiver) -> None:
    def sold(date: object) -> RedemptionEvent:
        data = json.loads(a_sale().body)
        return with_body(a_sale(), data | {"redemption": {"id": "r_1", "date": date}})

    async with sqlite_desk.open(webhook(receiver.url) + RULE + "max_age = 86400"):
        assert await sqlite_desk.tell(sold("2024-03-13T17:35:58.535Z")) == Skipped("too_old")
        assert await sqlite_desk.tell(sold("2999-01-01T00:00:00")) is None
        assert await sqlite_desk.tell(sold("yesterday")) is None
        assert await sqlite_desk.tell(sold(None)) is None


async def test_a_late_resend_stays_silent_and_what_waited_for_its_channel_does_not(
    sqlite_desk: Desk, receiver: Receiver
) -> None:
    happened = datetime(2026, 7, 1, 12, tzinfo=UTC)
    data = json.loads(a_sale().body) | {"redemption": {"id": "r_1", "date": happened.isoformat()}}
    event, at = with_body(a_sale(), data), happened.timestamp()
    async with sqlite_desk.open(webhook(receiver.url) + RULE + "max_age = 86400") as desk:
        assert await desk.tell(event, since=at + 86_401) == Skipped("too_old")
        # Told within the day, and tried for months.
        assert await desk.tell(event, since=at + 86_399) is None


async def test_an_old_event_is_told_where_no_age_is_asked_for(sqlite_desk: Desk, receiver: Receiver) -> None:
    data = json.loads(a_sale().body) | {"redemption": {"id": "r_1", "date": "2015-01-01T00:00:00Z"}}
    async with sqlite_desk.open(webhook(receiver.url) + RULE):
        assert await sqlite_desk.tell(with_body(a_sale(), data)) is None


async def test_consent_has_to_be_said(sqlite_desk: Desk, receiver: Receiver) -> None:
    def says(consent: object) -> RedemptionEvent:
        data = json.loads(a_sale().body)
        data["customer"]["metadata"] = {"opt.in": consent}
        return with_body(a_sale(), data)

    async with sqlite_desk.open(webhook(receiver.url, 'consent = "metadata.opt.in"') + RULE):
        for yes in (True, "true", "Yes", 1):
            assert await sqlite_desk.tell(says(yes)) is None
        for no in (False, None, "no", "", [], {"true": 1}, 0):
            assert await sqlite_desk.tell(says(no)) == Skipped("no_consent")
        assert await sqlite_desk.tell(a_sale()) == Skipped("no_consent")


async def test_what_gives_up_makes_no_second_call_when_the_first_may_have_been_taken(
    desk: Desk, receiver: Receiver
) -> None:
    text = f'[channels.crm]\ntype = "slack"\nurl = "{receiver.url}"\non_unknown = "give_up"\n' + RULE
    receiver.answers = ["lost", 503]
    async with desk.open(text):
        with pytest.raises(Refused) as refused:
            await desk.tell(a_sale())
        assert refused.value.reason == "outcome_unknown"
        with pytest.raises(Unavailable):  # 503 says that nothing was done
            await desk.tell(a_sale("r_2"))
        assert await desk.tell(a_sale("r_2"), number=2) is None
    assert receiver.keys == {key("r_1"): 1, key("r_2"): 2}


async def test_what_gives_up_makes_no_second_call_after_a_crash(desk: Desk, receiver: Receiver) -> None:
    text = f'[channels.crm]\ntype = "slack"\nurl = "{receiver.url}"\non_unknown = "give_up"\n' + RULE
    receiver.answers = ["hang_taken"]
    async with desk.open(text):
        killed = asyncio.create_task(desk.tell(a_sale()))
        await receiver.until(1)
        killed.cancel()
        await asyncio.wait([killed])
        for number in (2, 1):
            with pytest.raises(Refused):
                await desk.tell(a_sale(), number=number)
        assert await desk.tell(a_sale(), generation=1) is None  # an operator replays it
    assert receiver.keys == {key("r_1"): 2}


async def test_a_channel_that_does_not_answer_keeps_no_other_waiting(desk: Desk, receiver: Receiver) -> None:
    other = '\n[channels.other]\ntype = "webhook"\nurl = "{url}"\n'
    to_other = SECOND.replace('channel = "crm"', 'channel = "other"')
    receiver.answers = ["hang"]
    async with (
        receiving() as second,
        desk.open(webhook(receiver.url, "timeout = 1") + other.format(url=second.url) + RULE + to_other),
    ):
        telling = asyncio.create_task(desk.tell(a_sale()))
        await receiver.until(1)
        await second.until(1)
        assert not telling.done()  # the first one hangs
        with pytest.raises(Unavailable):
            await telling
        assert await desk.tell(a_sale(), number=2) is None
    assert (len(receiver.taken), len(second.taken)) == (1, 1)


async def settle(desk: Desk) -> None:
    await age_calls(desk, 21)


async def age_calls(desk: Desk, seconds: float) -> None:
    """As if so much time had passed since."""
    async with desk.database.transaction() as transaction:
        await transaction.run("UPDATE notification_calls SET at = at - :ms", ms=int(seconds * 1000))
