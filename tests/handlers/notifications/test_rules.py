"""Which events lead to which messages, to whom."""

import json
from typing import Any

import pytest

from events.event import RedemptionEvent
from handlers.protocol import Skipped
from tests.handlers.deliveries import a_rollback, a_sale, with_body
from tests.handlers.notifications.desk import Desk, webhook
from tests.handlers.notifications.receiver import Receiver

VOUCHER = {"code": "SPRING", "type": "DISCOUNT_VOUCHER", "campaign": "Spring", "campaign_id": "camp_1"}


def sold(**data: Any) -> RedemptionEvent:
    event = a_sale()
    return with_body(event, json.loads(event.body) | data)


def rule(*conditions: str, on: str = "succeeded", to: str = "customer") -> str:
    return "\n".join((f'[[rules]]\nname = "n"\non = "{on}"\nto = "{to}"\nchannel = "crm"', *conditions))


@pytest.mark.parametrize(
    ("condition", "data", "wanted"),
    [
        ('campaigns = ["camp_1"]', {"voucher": VOUCHER}, True),
        ('campaigns = ["Spring"]', {"voucher": VOUCHER}, True),
        ('campaigns = ["Autumn", "camp_1"]', {"voucher": VOUCHER}, True),
        ('campaigns = ["Autumn"]', {"voucher": VOUCHER}, False),
        ('campaigns = ["Spring"]', {"campaign": {"name": "Spring"}}, True),
        ('campaigns = ["Spring"]', {"redemption": {"id": "r_1", "voucher": VOUCHER}, "voucher": None}, True),
        ('campaigns = ["prom"]', {"promotion_tier": {"campaign": {"id": "prom"}}, "voucher": None}, True),
        ('campaigns = ["Spring"]', {"voucher": None}, False),
        ('campaigns = ["1"]', {"voucher": VOUCHER | {"campaign": 1}}, False),
        ('voucher_types = ["GIFT_VOUCHER"]', {"voucher": VOUCHER}, False),
        ('voucher_types = ["GIFT_VOUCHER", "DISCOUNT_VOUCHER"]', {"voucher": VOUCHER}, True),
        ('voucher_types = ["DISCOUNT_VOUCHER"]', {"redemption": {"voucher": VOUCHER}, "voucher": None}, True),
        ('voucher_types = ["GIFT_VOUCHER"]', {"voucher": None}, False),
        ("min_discount = 1000", {"order": {"total_discount_amount": 1000}}, True),
        ("min_discount = 1000", {"order": {"total_discount_amount": 999}}, False),
        ("min_discount = 9", {"order": {}, "redemption": {"order": {"total_discount_amount": 9}}}, True),
        ("min_discount = 1000", {"order": {"total_discount_amount": "2000.5"}}, False),
        ("min_discount = 1000", {"order": {"total_discount_amount": True}}, False),
        ("min_discount = 1000", {"order": None}, False),
        ("min_discount = 0", {"order": {"total_amount": 5}}, False),
        ("holder_used = true", {"holder": {"id": "bert"}}, True),
        ("holder_used = true", {"holder": {"id": "anna"}}, False),
        ("holder_used = true", {"voucher": VOUCHER | {"holder_id": "bert"}}, True),
        ("holder_used = true", {"voucher": VOUCHER | {"holder_id": "bert"}, "customer": None}, True),
        ("holder_used = true", {"voucher": VOUCHER}, False),
        ('min_discount = 1\ncampaigns = ["Spring"]', {"voucher": VOUCHER, "order": {}}, False),
    ],
)  # fmt: skip
async def test_a_rule_is_for_events_that_meet_all_its_conditions(
    sqlite_desk: Desk, receiver: Receiver, condition: str, data: dict[str, Any], wanted: bool
) -> None:
    event = sold(**data)
    async with sqlite_desk.open(webhook(receiver.url) + rule(condition)) as desk:
        # An event that no rule is for stores no row.
        assert desk.handler.wants(event) is wanted
        if wanted:
            assert await desk.tell(event) is None
    assert len(receiver.taken) == wanted


async def test_a_rule_is_for_one_kind_of_event(sqlite_desk: Desk, receiver: Receiver) -> None:
    async with sqlite_desk.open(webhook(receiver.url) + rule(on="rolled_back")) as desk:
        assert [kind.value for kind in desk.handler.kinds] == ["rolled_back"]
        assert await desk.tell(a_rollback()) is None
    assert list(receiver.keys) == ["notify:default:rolled_back:r_1:crm:n"]


async def test_a_holder_is_told_and_where_there_is_none_nobody(sqlite_desk: Desk, receiver: Receiver) -> None:
    text = webhook(receiver.url, 'consent = "metadata.ok"') + rule(to="holder")
    async with sqlite_desk.open(text) as desk:
        assert await desk.tell(sold(holder={"id": "bert", "metadata": {"ok": True}})) is None
        # The customer's consent is not the holder's.
        of_customer = sold(holder={"id": "bert"}, customer={"id": "anna", "metadata": {"ok": True}})
        assert await desk.tell(of_customer) == Skipped("no_consent")
        assert await desk.tell(sold(holder=None)) == Skipped("no_holder")
    assert receiver.bodies[0]["holder_id"] == "bert"


async def test_points_are_those_of_who_is_told(sqlite_desk: Desk, receiver: Receiver) -> None:
    event = sold(holder={"id": "bert"}, order={"id": "ord_1", "total_amount": 5000})
    async with sqlite_desk.open(webhook(receiver.url) + rule(to="holder")) as desk:
        await desk.post(event)
        assert await desk.tell(event) is None
    assert (receiver.bodies[0]["points"], receiver.bodies[0]["balance"]) == (0, 0)
