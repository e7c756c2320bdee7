"""The short way of the commonest order gives what the general steps give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from handlers.loyalty.entitlement import Member, entitlement, general
from handlers.loyalty.facts import Facts
from handlers.loyalty.first import first_posting
from handlers.loyalty.policy import STANDARD, Base, Beneficiary, Policy, Rounding, Version
from handlers.loyalty.posting import NOTHING_POSTED, inputs_of, settle

AMOUNTS = st.none() | st.integers(-(2**53), 2**53) | st.integers(-300, 300)
MEMBERS = st.builds(
    Member,
    st.builds(
        Facts,
        st.just("r_1"),
        order_id=st.sampled_from([None, "ord_1"]),
        customer_id=st.sampled_from([None, "cust_1"]),
        amount=AMOUNTS,
        total_amount=AMOUNTS,
        total_discount_amount=AMOUNTS,
        voucher_type=st.sampled_from([None, "DISCOUNT_VOUCHER", "LOYALTY_CARD"]),
        channel_type=st.sampled_from([None, "USER", "AUTO_REDEEM"]),
        order_status=st.sampled_from([None, "PAID", "CANCELED"]),
        date=st.none() | st.integers(0, 2**41),
        has_reward=st.booleans(),
        succeeded=st.booleans(),
        reversed=st.booleans(),
    ),
    st.booleans(),
)
RATES = st.builds(
    lambda points, every: Policy((Version(version="1", points=points, every=every),)),
    st.sampled_from([0, 1, 3, 1_000_000]),
    st.integers(1, 1000),
)


@given(MEMBERS, RATES)
def test_the_short_way_gives_what_the_general_steps_give(member: Member, policy: Policy) -> None:
    assert policy.plain is not None
    assert entitlement([member], policy) == general([member], policy)
    assert inputs_of(entitlement([member], policy), restated=False) == inputs_of(
        general([member], policy), restated=False
    )


@given(MEMBERS, RATES)
def test_the_first_posting_is_that_of_the_general_steps(member: Member, policy: Policy) -> None:
    assert policy.plain is not None
    order = 7, "ord_1"
    stands, entries = settle(order, "shop", NOTHING_POSTED, general([member], policy))
    assert first_posting(order, "shop", member, policy.plain) == (stands, next(iter(entries), None))
    assert len(entries) <= 1


@pytest.mark.parametrize(
    "changed",
    [
        {"base": Base.AMOUNT},
        {"rounding": Rounding.HALF_UP},
        {"gift_credits_count": True},
        {"beneficiary": Beneficiary.BOTH},
        {"minimum_order": 1},
        {"max_points_per_redemption": 1},
        {"max_points_per_order": 1},
    ],
)
def test_a_policy_that_asks_for_more_takes_the_general_steps(changed: dict[str, object]) -> None:
    [version] = STANDARD.versions
    assert STANDARD.plain is version
    assert Policy((structs.replace(version, **changed),)).plain is None
