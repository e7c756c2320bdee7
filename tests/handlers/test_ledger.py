"""What the ledger promises, sentence by sentence, on both databases."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from events.event import RedemptionEvent
from events.failures import Refused
from handlers.loyalty.report import Mark, mark_counts, totals
from handlers.protocol import Skipped
from tests.handlers.books import Books
from tests.handlers.deliveries import (
    a_rollback,
    a_sale,
    a_success,
    the_documented_rollback,
    the_documented_success,
)

JACK = "cust_IdgAFZxYwwHctOk9pPuMu308"
DONE = Mark("succeeded", "done", None)
REVERSED = Mark("rolled_back", "done", None)


async def in_every_order(books: Books, events: Sequence[RedemptionEvent], expected: dict[str, int]) -> None:
    """Each order of arrival in a tenant of its own, one event a batch, then all again in one batch."""
    for arrival in itertools.permutations(events):
        tenant = books.another_tenant()
        told = [_for_tenant(event, tenant) for event in arrival]
        for event in told:
            await books.apply(event)
        await books.apply(*told)
        assert await books.balances_of(tenant) == expected, [event.redemption_id for event in arrival]
    assert await books.findings() == []


def _for_tenant(event: RedemptionEvent, tenant: str) -> RedemptionEvent:
    return RedemptionEvent(
        tenant=tenant,
        kind=event.kind,
        shape=event.shape,
        redemption_id=event.redemption_id,
        rollback_id=event.rollback_id,
        data=event.data,
    )


async def test_the_documented_example_gives_103_points_once(books: Books) -> None:
    await books.apply(the_documented_success(), the_documented_success())
    await books.apply(the_documented_success())
    assert await books.balances_of() == {JACK: 103}
    assert books.notes == ["+103 points"]
    assert await books.findings() == []


async def test_the_documented_success_and_its_rollback_leave_nothing_in_any_order(books: Books) -> None:
    await in_every_order(books, [the_documented_success(), the_documented_rollback()], {})


async def test_a_second_rollback_of_one_redemption_takes_nothing(books: Books) -> None:
    await books.apply(the_documented_success())
    await books.apply(the_documented_rollback())
    await books.apply(the_documented_rollback())
    assert await books.points(JACK) == 0
    assert [(entry.kind, entry.points) for entry in await books.entries()] == [
        ("earn", 103),
        ("reverse", -103),
    ]


async def test_a_pure_duplicate_writes_nothing(books: Books) -> None:
    events = [the_documented_success(), a_sale("r_2", parent="r_p", total=500), a_rollback("r_3")]
    await books.apply(*events)
    before = await books.contents()
    assert await books.apply(*events, *events) == {}
    assert await books.contents() == before


async def test_a_stack_earns_once_by_its_final_totals_in_any_order(books: Books) -> None:
    stack = [
        a_sale("r_c1", total=10_000, total_discount_amount=100, parent="r_p"),
        a_sale("r_c2", total=8_000, total_discount_amount=2_100, parent="r_p"),
        a_sale("r_p", total=8_000, total_discount_amount=2_100, voucher=False),
    ]
    await in_every_order(books, stack, {"anna": 80})


async def test_a_stack_whose_orders_have_no_id_earns_once_under_its_parent(books: Books) -> None:
    stack = [
        a_sale("r_c1", order=None, total=10_000, parent="r_p"),
        a_sale("r_p", order=None, total=8_000, total_discount_amount=2_000, voucher=False),
    ]
    await in_every_order(books, stack, {"anna": 80})


async def test_the_parents_reversal_takes_its_children_along_in_any_order(books: Books) -> None:
    child = a_sale("r_c", total=10_000, parent="r_p")
    await in_every_order(books, [child, a_sale("r_p", total=8_000, voucher=False), a_rollback("r_p")], {})
    await in_every_order(books, [child, a_rollback("r_p")], {})


async def test_a_childs_reversal_leaves_the_parent_in_charge(books: Books) -> None:
    events = [
        a_sale("r_c", total=10_000, parent="r_p"),
        a_sale("r_p", total=8_000, voucher=False),
        a_rollback("r_c"),
    ]
    await in_every_order(books, events, {"anna": 80})


async def test_a_parents_reversal_reaches_children_in_other_orders(books: Books) -> None:
    events = [
        a_sale("r_c1", order="ord_1", total=1_000, parent="r_p"),
        a_sale("r_c2", order="ord_2", total=2_000, parent="r_p"),
        a_sale("r_x", order="ord_3", total=4_000),
        a_rollback("r_p"),
    ]
    await in_every_order(books, events, {"anna": 40})


async def test_a_later_redemption_of_the_same_order_lowers_its_points(books: Books) -> None:
    events = [
        a_sale("r_1", total=10_000, total_discount_amount=500),
        a_sale("r_2", total=7_500, total_discount_amount=3_000),
    ]
    await in_every_order(books, events, {"anna": 75})
    await in_every_order(books, [*events, a_rollback("r_2")], {"anna": 100})
    await in_every_order(books, [*events, a_rollback("r_1"), a_rollback("r_2")], {})


async def test_of_equal_discounts_the_parent_decides_then_the_smaller_base_then_the_smaller_id(
    books: Books,
) -> None:
    await in_every_order(
        books,
        [a_sale("r_b", total=900), a_sale("r_a", total=500), a_sale("r_p", total=700, voucher=False)],
        {"anna": 7},
    )
    await in_every_order(books, [a_sale("r_a", total=900), a_sale("r_b", total=500)], {"anna": 5})
    await in_every_order(books, [a_sale("r_a", total=None), a_sale("r_b", total=500)], {"anna": 5})
    same = [a_sale("r_Z", customer="zoe", total=500), a_sale("r_a", customer="anna", total=500)]
    await in_every_order(books, same, {"zoe": 5})


async def test_a_partial_payload_and_the_whole_one_agree_in_any_order(books: Books) -> None:
    whole = a_sale("r_1", total=10_000, total_discount_amount=500)
    await in_every_order(
        books, [a_success("r_1"), whole, a_success("r_1", order={"amount": 99_900})], {"anna": 100}
    )


async def test_a_redemption_whose_order_becomes_known_moves_its_points_there(books: Books) -> None:
    await books.apply(a_sale("r_1", order=None, total=1_000))
    await books.apply(a_sale("r_2", order="ord_1", total=500, total_discount_amount=50))
    assert await books.points() == 15
    await books.apply(a_sale("r_1", order="ord_1", total=None))
    assert await books.points() == 5
    assert await books.findings() == []


async def test_a_partial_duplicate_without_its_parent_still_obeys_the_parents_reversal(books: Books) -> None:
    events = [
        a_sale("r_c", order=None, total=1_000, parent="r_p"),
        a_sale("r_c", order="ord_1"),
        a_rollback("r_p"),
    ]
    await in_every_order(books, events, {})


async def test_points_move_when_another_customer_turns_out_to_be_the_one(books: Books) -> None:
    await books.apply(a_sale("r_1", customer="bob", total=1_000))
    await books.apply(a_sale("r_2", customer="anna", total=800, total_discount_amount=200))
    assert await books.balances_of() == {"anna": 8}
    entries = await books.entries(order="ord_1")
    assert [(entry.customer_id, entry.points) for entry in entries if entry.customer_id == "bob"] == [
        ("bob", 10),
        ("bob", -10),
    ]
    assert len({entry.key for entry in entries}) == 3
    assert await books.findings() == []


async def test_the_account_is_that_of_the_first_redemption_that_has_one(books: Books) -> None:
    events = [
        a_sale("r_1", customer=None, total=800, total_discount_amount=900),
        a_sale("r_2", customer="bob", total=900),
        a_sale("r_3", customer="anna", total=900),
    ]
    await in_every_order(books, events, {"bob": 8})


async def test_an_anonymous_redemption_is_skipped_until_somebody_is_known(books: Books) -> None:
    nobody = a_sale("r_1", customer=None, total=1_000)
    assert await books.apply(nobody, nobody) == {0: Skipped("anonymous"), 1: Skipped("anonymous")}
    assert await books.marks("r_1") == [Mark("succeeded", "skipped", "anonymous")]
    assert await books.entries() == []
    assert await books.apply(a_sale("r_1", total=None)) == {}
    assert await books.marks("r_1") == [DONE]
    assert await books.points() == 10
    assert await books.findings() == []


async def test_a_rollback_leaves_an_anonymous_redemption_anonymous(books: Books) -> None:
    for events in itertools.permutations([a_sale("r_1", customer=None, total=1_000), a_rollback("r_1")]):
        await books.apply(*events)
        assert await books.marks("r_1") == [Mark("succeeded", "skipped", "anonymous"), REVERSED]


async def test_a_reversal_without_a_success_is_kept_and_shown(books: Books) -> None:
    assert await books.apply(a_rollback("r_1")) == {}
    assert await books.marks("r_1") == [REVERSED]
    await books.apply(a_sale("r_1", total=1_000))
    assert await books.marks("r_1") == [DONE, REVERSED]
    assert await books.entries() == []


async def test_a_parent_that_only_a_child_named_has_no_mark(books: Books) -> None:
    await books.apply(a_sale("r_c", parent="r_p", total=100))
    assert await books.marks("r_p") == []
    assert await books.marks("r_unknown") == []


@pytest.mark.parametrize(
    "spent",
    [
        {"voucher": {"type": "LOYALTY_CARD"}},
        {"redemption_fields": {"voucher": {"type": "LOYALTY_CARD"}}},
        {"redemption_fields": {"reward": {"id": "rew_1"}}},
        {"redemption_fields": {"channel": {"channel_type": "AUTO_REDEEM"}}},
        {"order": {"id": "ord_1", "total_amount": 1_000, "status": "CREATED"}},
        {"order": {"id": "ord_1", "total_amount": 1_000, "status": "CANCELED"}},
    ],
    ids=["loyalty card", "loyalty card in the snapshot", "reward", "auto redeem", "created", "canceled"],
)
async def test_what_must_not_earn_earns_nothing(books: Books, spent: dict[str, Any]) -> None:
    order = {"id": "ord_1", "total_amount": 1_000, "status": "PAID"}
    told: dict[str, Any] = {"customer": {"id": "anna"}, "order": order} | spent
    await books.apply(a_success("r_1", **told))
    assert await books.balances_of() == {}
    assert await books.marks("r_1") == [DONE]


@pytest.mark.parametrize(
    ("order", "points"),
    [
        ({"total_amount": 199}, 1),
        ({"total_amount": 99}, 0),
        ({"amount": 1_000, "total_discount_amount": 250}, 7),
        ({"amount": 1_000}, 10),
        ({"total_amount": -500}, 0),
        ({"amount": 100, "total_discount_amount": 900}, 0),
        ({"total_amount": 0, "amount": 1_000}, 0),
        ({}, 0),
        ({"total_amount": 2**53}, 2**53 // 100),
    ],
)
async def test_the_base_is_what_the_order_came_to(books: Books, order: dict[str, int], points: int) -> None:
    await books.apply(a_success("r_1", customer={"id": "anna"}, order=order))
    assert await books.points() == points
    assert await books.findings() == []


async def test_a_refused_event_holds_up_nobody_and_leaves_nothing(books: Books) -> None:
    verdicts = await books.apply(
        a_sale("r_1", order="ord_1", total=1_000),
        a_sale("r_2", order="ord_2", total="10.5"),
        a_sale("r_3", order="ord_3\0", total=1_000),
    )
    reasons = {index: verdict.reason for index, verdict in verdicts.items() if isinstance(verdict, Refused)}
    assert reasons == {1: "unfit_amount", 2: "unfit_order_id"}
    assert await books.points() == 10
    assert await books.marks("r_2") == []


async def test_a_batch_of_nothing_but_refusals_is_fine(books: Books) -> None:
    assert len(await books.apply(a_sale(total=True))) == 1
    assert await books.apply() == {}


async def test_tenants_share_nothing(books: Books) -> None:
    await books.apply(a_sale(total=1_000), a_sale(total=2_000, tenant="other"), a_rollback(tenant="third"))
    assert await books.points() == 10
    assert await books.points(tenant="other") == 20
    assert await books.points(tenant="never-seen") == 0


async def test_hostile_texts_are_data(books: Books) -> None:
    nasty = [
        "'; DROP TABLE facts; --",
        ":now",
        "{now}",
        "{rows}",
        '["a"]',
        "null",
        "123",
        "1e5",
        "%s",
        "é" * 127,
    ]
    await books.apply(*(a_sale(f"r_{text}"[:255], customer=text, order=text, total=1_000) for text in nasty))
    assert await books.balances_of() == dict.fromkeys(nasty, 10)
    assert await books.findings() == []
    for text in nasty:
        assert [entry.order_key for entry in await books.entries(order=text)] == [text]


async def test_orders_whose_ids_look_like_entry_keys_do_not_collide(books: Books) -> None:
    for order in ("a", "a:1", "a:1:taken", "a:2"):
        await books.apply(a_sale(f"r_{order}", order=order, total=1_000))
        await books.apply(
            a_sale(f"r_{order}x", order=order, customer="bob", total=900, total_discount_amount=9)
        )
        assert {entry.order_key for entry in await books.entries(order=order)} == {order}
    assert await books.points() == 0
    assert await books.points("bob") == 36


async def test_entries_tell_what_happened_and_when(books: Books) -> None:
    await books.apply(the_documented_success())
    await books.apply(the_documented_rollback())
    earned, taken = await books.entries(JACK)
    assert earned.key == "earn-order:default:ord_p6B1A0y805yUQQaCw4bC6Fbk:1"
    assert (earned.kind, earned.points, earned.redemption_id) == ("earn", 103, "r_0e6ff48b91cfa02e97")
    assert (taken.kind, taken.points, taken.redemption_id) == ("reverse", -103, "r_0e6ff48b91cfa02e97")
    assert earned.at.endswith("Z") and earned.at <= taken.at
    assert await books.entries("nobody") == []


async def test_totals_and_marks_count_the_whole_ledger(books: Books) -> None:
    nobody = a_sale("r_4", customer=None, order="ord_4", total=100)
    await books.apply(a_sale("r_1", total=1_000), a_rollback("r_2"), a_sale("r_3", parent="r_p"), nobody)
    async with books.database.snapshot() as transaction:
        found = await totals(transaction)
        assert (found.customers, found.entries, found.points) == (1, 1, 10)
        assert await mark_counts(transaction) == {"done": 3, "skipped": 1}
