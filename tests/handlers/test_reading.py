"""Which values the ledger can use, which it refuses, and which it does not mind."""

from decimal import Decimal
from typing import Any

import pytest

from events.failures import Refused
from handlers.loyalty.facts import Facts
from handlers.loyalty.reading import read
from tests.handlers.deliveries import a_rollback, a_success, the_documented_success


def facts_of(**data: Any) -> Facts:
    return read(a_success(**data))


def reason_of(**data: Any) -> str:
    with pytest.raises(Refused) as refusal:
        read(a_success(**data))
    return refusal.value.reason


def test_the_documented_example_tells_what_it_says() -> None:
    assert read(the_documented_success()) == Facts(
        "r_0e6ff48b91cfa02e97",
        order_id="ord_p6B1A0y805yUQQaCw4bC6Fbk",
        customer_id="cust_IdgAFZxYwwHctOk9pPuMu308",
        amount=11499,
        total_amount=10349,
        total_discount_amount=1150,
        voucher_type="DISCOUNT_VOUCHER",
        order_status="PAID",
        date=1_710_351_358_535,
        has_voucher=True,
        succeeded=True,
    )


def test_a_rollback_tells_the_reversal_alone() -> None:
    assert read(a_rollback("r_1")) == Facts("r_1", reversed=True)


@pytest.mark.parametrize(
    ("told", "amount"),
    [
        (10349, 10349),
        (Decimal("10.0"), 10),
        ("10349", 10349),
        ("10349.0", 10349),
        ("-5", -5),
        (-5, -5),
        (Decimal("-0.0"), 0),
        (Decimal("1E+3"), 1000),
        (2**53, 2**53),
        (-(2**53), -(2**53)),
        (None, None),
    ],
)
def test_whole_numbers_are_amounts_however_they_are_written(told: Any, amount: int | None) -> None:
    assert facts_of(order={"total_amount": told}).total_amount == amount


UNFIT_AMOUNTS = [
    True,
    False,
    Decimal("10.5"),
    Decimal("1E+999999999"),
    Decimal("1E-999999999"),
    Decimal("NaN"),
    Decimal("Infinity"),
    2**53 + 1,
    10**4000,
    "",
    " 1",
    "1\n",
    "ten",
    "10.5",
    "1_000",
    "٣",
    "NaN",
    "1e9999",
    "9" * 5000,
    [],
    {},
    [1],
]


@pytest.mark.parametrize("told", UNFIT_AMOUNTS, ids=lambda told: ascii(told)[:20])
@pytest.mark.parametrize("field", ["total_amount", "amount", "total_discount_amount"])
def test_what_is_no_amount_is_refused_where_it_is_needed(field: str, told: Any) -> None:
    assert reason_of(order={field: told}) == "unfit_amount"


@pytest.mark.parametrize("told", UNFIT_AMOUNTS, ids=lambda told: ascii(told)[:20])
def test_an_unfit_amount_beside_a_total_does_not_matter(told: Any) -> None:
    facts = facts_of(order={"amount": told, "total_amount": 500})
    assert (facts.amount, facts.total_amount) == (None, 500)


UNFIT_IDS = [
    "",
    "x" * 256,
    "é" * 128,
    "a\0b",
    "a\nb",
    "a\x7f",
    "\x85",
    "\ud800",
    5,
    True,
    [],
    {},
    Decimal("1"),
]


@pytest.mark.parametrize("told", UNFIT_IDS, ids=lambda told: ascii(told)[:20])
def test_an_id_that_cannot_be_a_key_is_refused(told: Any) -> None:
    assert reason_of(customer={"id": told}) == "unfit_customer_id"
    assert reason_of(order={"id": told}) == "unfit_order_id"
    assert reason_of(redemption_fields={"redemption": told}) == "unfit_parent_id"


@pytest.mark.parametrize("told", ["x", "x" * 255, "é" * 127, "ord 1", "'; --", "\U0001f600"])
def test_any_other_text_is_an_id(told: str) -> None:
    assert facts_of(order={"id": told}).order_id == told


def test_the_account_is_the_first_place_that_names_somebody() -> None:
    places: list[tuple[str, dict[str, Any]]] = [
        ("a", {"customer": {"id": "a"}}),
        ("b", {"redemption_fields": {"customer_id": "b"}}),
        ("c", {"redemption_fields": {"customer": {"id": "c"}}}),
        ("d", {"order": {"customer_id": "d"}}),
        ("e", {"redemption_fields": {"order": {"customer_id": "e"}}}),
    ]
    for first in range(len(places)):
        told: dict[str, Any] = {"redemption_fields": {}}
        for _, place in places[first:]:
            told |= {key: value for key, value in place.items() if key != "redemption_fields"}
            told["redemption_fields"] |= place.get("redemption_fields", {})
        assert facts_of(**told).customer_id == places[first][0]
    assert facts_of(customer={"id": None}).customer_id is None


def test_an_unfit_id_that_nobody_needs_does_not_matter() -> None:
    assert facts_of(customer={"id": "anna"}, order={"customer_id": 5}).customer_id == "anna"


def test_the_order_comes_first_and_its_gaps_are_filled_from_the_snapshot() -> None:
    snapshot = {"id": "ord_2", "amount": 900, "total_amount": 800, "status": "PAID"}
    facts = facts_of(order={"id": "ord_1", "amount": None}, redemption_fields={"order": snapshot})
    assert (facts.order_id, facts.amount, facts.total_amount, facts.order_status) == (
        "ord_1",
        900,
        800,
        "PAID",
    )


@pytest.mark.parametrize("told", [5, [], {}, True, "", "x" * 1_000_000, "a\0b", "\ud800"])
def test_rubbish_in_an_open_list_reads_as_absent_and_never_reaches_the_database(told: Any) -> None:
    facts = facts_of(
        voucher={"type": told}, order={"status": told}, redemption_fields={"channel": {"channel_type": told}}
    )
    assert (facts.voucher_type, facts.order_status, facts.channel_type) == (None, None, None)


@pytest.mark.parametrize(
    ("told", "date"),
    [
        ("2024-03-13T17:35:58.635000Z", 1_710_351_358_635),
        ("2024-03-13T17:35:58Z", 1_710_351_358_000),
        ("2024-03-13T18:35:58+01:00", 1_710_351_358_000),
        ("2024-03-13", 1_710_288_000_000),
        ("2024-05-13T10: 24: 01.084Z", None),
        ("soon", None),
        ("", None),
        ("\ud800", None),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
        (1_710_351_358, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_date_is_read_or_absent_and_never_fails_an_event(told: Any, date: int | None) -> None:
    assert facts_of(redemption_fields={"date": told}).date == date


def test_a_stack_parent_has_no_voucher_no_tier_and_no_parent() -> None:
    assert facts_of().is_stack_parent
    assert not facts_of(voucher={}).is_stack_parent
    assert not facts_of(redemption_fields={"voucher": {}}).is_stack_parent
    assert not facts_of(promotion_tier={}).is_stack_parent
    assert not facts_of(redemption_fields={"promotion_tier": {}}).is_stack_parent
    assert not facts_of(redemption_fields={"redemption": "r_p"}).is_stack_parent


def test_a_redemption_without_a_redemption_object_tells_at_least_its_id() -> None:
    event = a_success("r_1")
    bare = type(event)(
        tenant=event.tenant,
        kind=event.kind,
        shape=event.shape,
        redemption_id="r_1",
        rollback_id=None,
        data=type(event.data)(),
    )
    assert read(bare) == Facts("r_1", succeeded=True)
