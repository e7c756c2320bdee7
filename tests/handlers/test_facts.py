"""Merging is a join: it cannot matter what arrives first, how often, or in which groups."""

from hypothesis import given
from hypothesis import strategies as st

from handlers.loyalty.facts import MERGED, Facts, merge

words = st.sampled_from(["a", "b", "é", "zz"]) | st.none()
numbers = st.integers(-3, 3) | st.none()
some_facts = st.builds(
    Facts,
    redemption_id=st.just("r_1"),
    order_id=words,
    parent_id=words,
    customer_id=words,
    amount=numbers,
    total_amount=numbers,
    total_discount_amount=numbers,
    voucher_type=words,
    channel_type=words,
    order_status=words,
    date=numbers,
    has_voucher=st.booleans(),
    has_tier=st.booleans(),
    has_reward=st.booleans(),
    succeeded=st.booleans(),
    reversed=st.booleans(),
)


@given(some_facts, some_facts)
def test_it_does_not_matter_which_delivery_came_first(one: Facts, other: Facts) -> None:
    assert merge(one, other) == merge(other, one)


@given(some_facts, some_facts, some_facts)
def test_it_does_not_matter_how_deliveries_are_grouped(one: Facts, two: Facts, three: Facts) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(some_facts, some_facts)
def test_a_delivery_that_comes_again_tells_nothing_new(one: Facts, other: Facts) -> None:
    both = merge(one, other)
    assert merge(one, one) == one
    assert merge(both, one) == both == merge(both, other)


@given(some_facts)
def test_a_placeholder_tells_nothing(facts: Facts) -> None:
    assert merge(Facts("r_1"), facts) == facts


def test_known_beats_absent_and_of_two_known_the_smaller_wins_and_is_remembered_as_a_conflict() -> None:
    merged = merge(Facts("r_1", order_id="b", total_amount=5), Facts("r_1", order_id="a", customer_id="anna"))
    assert (merged.order_id, merged.customer_id, merged.total_amount) == ("a", "anna", 5)
    assert [field for place, field in enumerate(MERGED) if merged.conflicts >> place & 1] == ["order_id"]


def test_texts_compare_as_their_bytes_do() -> None:
    merged = merge(Facts("r_1", order_id="\U0001f600"), Facts("r_1", order_id="￿"))
    assert merged.order_id == "￿"
