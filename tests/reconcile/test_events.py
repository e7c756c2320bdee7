"""A row of the list as the event that a webhook would have brought."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from events.decode import decode
from events.event import Kind, RedemptionEvent
from events.failures import Malformed
from handlers.loyalty.facts import Facts
from handlers.loyalty.reading import read
from reconcile.events import Told, read_row
from tests.handlers.deliveries import EXAMPLES
from tests.reconcile.voucherify import a_failure, a_redemption, a_rollback


def told(row: dict[str, Any]) -> Told:
    return read_row(Raw(json.dumps(row).encode()), "default")


def event_of(row: dict[str, Any]) -> RedemptionEvent:
    event = told(row).event
    assert event is not None
    return event


def facts_of(row: dict[str, Any]) -> Facts:
    return read(event_of(row))


def test_a_success_tells_the_facts_that_its_webhook_tells() -> None:
    body = (EXAMPLES / "customer.redemption.succeeded.json").read_bytes()
    by_webhook = decode(body, "default")
    assert isinstance(by_webhook, RedemptionEvent)
    payload = json.loads(body)
    row = {name: value for name, value in payload["redemption"].items() if name != "status"}
    voucher = {
        name: payload["voucher"][name] for name in ("id", "code", "campaign", "campaign_id", "discount")
    }
    told_by_list = facts_of(row | {"order": payload["order"], "voucher": voucher})
    assert told_by_list == read(by_webhook)


def test_the_worker_reads_the_body_as_the_event() -> None:
    for row in (a_redemption(), a_rollback()):
        assert decode(told(row).body, "default") == event_of(row)


def test_a_success_that_was_rolled_back_since_is_a_success() -> None:
    row = a_redemption(status="ROLLED_BACK")
    assert event_of(row).kind is Kind.SUCCEEDED
    assert told(row).undone
    assert told(a_redemption(related_redemptions={"rollbacks": [{"id": "rr_1"}]})).undone
    assert not told(a_redemption(status="SUCCEEDED", related_redemptions={"rollbacks": []})).undone


@pytest.mark.parametrize("more", [{}, {"status": "ROLLED_BACK"}, {"result": None}, {"id": "r_odd"}])
def test_a_rollback_reverses_the_redemption_it_names(more: dict[str, Any]) -> None:
    event = event_of(a_rollback("r_1", **more))
    assert (event.kind, event.redemption_id) == (Kind.ROLLED_BACK, "r_1")


def test_a_rollback_is_known_by_its_id_where_its_object_is_not_told() -> None:
    assert event_of(a_rollback("r_1") | {"object": None}).kind is Kind.ROLLED_BACK


@pytest.mark.parametrize(
    "row",
    [
        a_failure(),
        a_failure("r_odd"),
        a_redemption("rf_1"),
        a_redemption(status="FAILED"),
        a_rollback(id="rrf_1"),
        a_rollback(result="FAILURE"),
        a_redemption("r_000000000000000000"),
    ],
)
def test_failures_and_tests_are_nothing_to_compare(row: dict[str, Any]) -> None:
    assert told(row).event is None


@pytest.mark.parametrize(
    ("more", "type_"),
    [
        ({"loyalty_card": {"points": 200}}, "LOYALTY_CARD"),
        ({"gift": {"amount": 300}}, "GIFT_VOUCHER"),
        ({"voucher": {"id": "v_1", "loyalty_card": {"points": 1}}}, "LOYALTY_CARD"),
        ({"voucher": {"id": "v_1", "gift": None, "discount": {"type": "PERCENT"}}}, "DISCOUNT_VOUCHER"),
        ({"voucher": {"id": "v_1", "type": "GIFT_VOUCHER"}, "loyalty_card": {}}, "GIFT_VOUCHER"),
        ({"voucher": None, "loyalty_card": {"points": 200}}, "LOYALTY_CARD"),
        ({}, None),
    ],
)
def test_the_type_of_the_voucher_is_told_by_what_was_redeemed(
    more: dict[str, Any], type_: str | None
) -> None:
    assert facts_of(a_redemption(**more)).voucher_type == type_


def test_points_that_were_spent_earn_none() -> None:
    assert not facts_of(a_redemption(loyalty_card={"points": 200})).counts
    assert not facts_of(a_redemption(reward={"id": "rew_1"})).counts


def test_parent_and_child_of_a_stack_are_told_apart() -> None:
    parent = a_redemption("r_parent", voucher=None, related_object_type="redemption")
    child = a_redemption("r_child", redemption="r_parent")
    assert facts_of(parent).is_stack_parent
    assert facts_of(child).parent_id == "r_parent"


@pytest.mark.parametrize("related", ["voucher", "promotion_tier"])
def test_a_redemption_whose_voucher_was_deleted_is_no_parent(related: str) -> None:
    assert not facts_of(a_redemption(voucher=None, related_object_type=related)).is_stack_parent


def test_numbers_are_passed_on_as_they_came() -> None:
    row = json.dumps(a_redemption()).replace('"total_amount": 10000', '"total_amount": 10000.0, "x": 1e999')
    body = read_row(Raw(row.encode()), "default").body
    assert body.count(b'"total_amount": 10000.0, "x": 1e999') == 2


def test_half_a_surrogate_pair_in_a_name_costs_nothing() -> None:
    row = json.dumps(a_redemption()).replace('"SPRING"', '"SPR\\ud800"')
    read_it = read_row(Raw(row.encode()), "default")
    assert read_it.event
    assert b"\\ud800" in read_it.body


def test_the_record_is_filed_under_the_customer() -> None:
    assert told(a_redemption(customer="cust_7")).key == b"cust_7"
    assert told(a_redemption(customer=None)).key == b"ord_r_1"


@pytest.mark.parametrize(
    "row", [b"[]", b"7", b"null", b"{}", b'{"id": 7}', b'{"id": "rr_1"}', b'{"id": "\\ud800"}']
)
def test_a_row_that_says_nothing_is_refused(row: bytes) -> None:
    with pytest.raises(Malformed):
        read_row(Raw(row), "default")


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
NAMES = st.sampled_from([*a_redemption(), "status", "gift", "redemption", "related_redemptions", "type", "x"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3)
)


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_no_row_is_a_crash(odd: dict[str, Any]) -> None:
    try:
        read_it = told(a_redemption() | odd)
    except Malformed:
        return
    if read_it.event:
        assert msgspec.json.decode(read_it.body)
