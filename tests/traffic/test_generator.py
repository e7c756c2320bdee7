"""Synthetic traffic is what it says it is: two others that know the rules come to the same."""

from collections import Counter

import pytest

from events.decode import decode
from events.event import Ignored
from events.failures import Malformed
from handlers.loyalty.reading import read
from tests.handlers.model import expected_balances
from traffic.generator import Traffic, reason_of, traffic
from traffic.telling import Delivery

SEEDS = range(4)


@pytest.fixture(scope="module", params=SEEDS)
def load(request: pytest.FixtureRequest) -> Traffic:
    return traffic(request.param, 1500)


def test_its_balances_are_those_of_the_rules_written_down_elsewhere(load: Traffic) -> None:
    tellings = [one.telling._asdict() for one in load.deliveries if one.telling and not one.refused]
    assert load.expected().balances == expected_balances(tellings)


def test_each_body_says_what_its_telling_says(load: Traffic) -> None:
    for delivery in load.deliveries:
        assert said_by(delivery) == meant_by(delivery), delivery


def said_by(delivery: Delivery) -> tuple[object, ...]:
    try:
        event = decode(delivery.body, "default")
    except Malformed as malformed:
        return (malformed.reason,)
    return ("ignored",) if isinstance(event, Ignored) else (event.kind.value, event.redemption_id)


def meant_by(delivery: Delivery) -> tuple[object, ...]:
    if delivery.malformed:
        return (delivery.malformed,)
    telling = delivery.telling
    return (telling.kind, telling.redemption) if telling else ("ignored",)


def test_it_reads_back_with_every_amount_and_id(load: Traffic) -> None:
    for delivery in load.deliveries:
        told = delivery.telling
        if told is None or not told.success or delivery.refused:
            continue
        event = decode(delivery.body, "default")
        assert not isinstance(event, Ignored)
        facts = read(event)
        assert (facts.order_id, facts.parent_id, facts.customer_id) == (
            told.order,
            told.parent,
            told.customer,
        )
        assert (facts.amount, facts.total_amount) == (told.amount, told.total)
        assert (facts.total_discount_amount, facts.order_status) == (told.discount, told.status)


def test_all_that_a_webhook_has_to_bear_is_in_it() -> None:
    load = traffic(0, 6000)
    bodies = Counter(delivery.body for delivery in load.deliveries)
    assert max(bodies.values()) > 1, "doubles"
    wanted = {"not_json", "not_utf8", "too_deep", "not_an_object", "unsupported_shape", "no_redemption_id"}
    wanted |= {"unfit_id", "different_originals", "rollback_under_success", "type_contradicts_result"}
    wanted |= {"unfit_amount", "unfit_customer_id", "unfit_order_id"}
    assert {reason_of(one) for one in load.deliveries} == wanted | {None}
    assert {one.telling.kind for one in load.deliveries if one.telling} == {
        "succeeded",
        "rolled_back",
        "failed",
    }


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_customers() -> None:
    assert traffic(7, 200) == traffic(7, 200)
    assert not traffic(7, 200).expected().balances.keys() & traffic(8, 200).expected().balances.keys()


def test_who_lacks_a_delivery_has_no_balance_but_is_named() -> None:
    load = traffic(1, 300)
    customer = load.stories[load.deliveries[0].story].customer
    expected = load.expected(refused={0})
    assert customer in expected.uncertain
    assert customer not in expected.balances
    assert len(expected.balances) == len(load.expected().balances) - 1
