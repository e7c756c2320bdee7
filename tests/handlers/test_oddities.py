"""What is odd is counted when it comes up: once, however often it is delivered."""

from handlers.loyalty.explanation import explain
from handlers.loyalty.policy import Base, Policy, Version
from tests.handlers.books import Books
from tests.handlers.deliveries import TENANT, a_rollback, a_sale


async def test_deliveries_that_contradict_each_other_are_counted_by_field(books: Books) -> None:
    await books.apply(a_sale(customer="anna", total=1000))
    await books.apply(a_sale(customer="bob", total=900), a_sale(customer="anna", total=1000))
    await books.apply(a_sale(customer="bob", total=900))
    assert sorted(books.oddities) == ["conflict_customer_id", "conflict_total_amount"]
    assert await books.points("anna") == 9


async def test_contradictions_within_one_batch_are_counted_too(books: Books) -> None:
    await books.apply(a_sale(total=1000), a_sale(total=900), a_rollback())
    assert books.oddities == ["conflict_total_amount"]


async def test_explain_names_the_fields_in_conflict(books: Books) -> None:
    await books.apply(a_sale(customer="anna", total=1000), a_sale(customer="bob", total=900))
    async with books.database.snapshot() as snapshot:
        explanation = await explain(snapshot, TENANT, "r_1", books.policy)
    assert explanation is not None
    assert explanation.redemptions[0].facts["conflicts"] == ["customer_id", "total_amount"]


async def test_a_negative_base_gives_nothing_and_is_counted_once(books: Books) -> None:
    for _ in range(2):
        await books.apply(a_sale(total=-500))
    assert await books.balances_of() == {}
    assert books.oddities == ["negative_base"]


async def test_a_base_that_only_the_discount_makes_negative_is_counted(books: Books) -> None:
    await books.apply(a_sale(amount=100, total_discount_amount=200))
    assert books.oddities == ["negative_base"]


async def test_the_base_of_the_policy_is_what_counts_as_negative(books: Books) -> None:
    books.policy = Policy((Version(version="gross", base=Base.AMOUNT),))
    await books.apply(a_sale("r_1", total=-500, amount=1000, total_discount_amount=1500))
    await books.apply(a_sale("r_2", order="ord_2", total=500, amount=-1000, total_discount_amount=-1500))
    assert books.oddities == ["negative_base"]


async def test_a_total_that_is_not_its_amount_without_discounts_is_counted(books: Books) -> None:
    await books.apply(a_sale(total=1000, amount=1000, total_discount_amount=100))
    assert books.oddities == ["inconsistent_total"]
    assert await books.points() == 10


async def test_usual_events_have_nothing_odd(books: Books) -> None:
    await books.apply(a_sale(total=900, amount=1000, total_discount_amount=100), a_sale("r_2", total=None))
    await books.apply(a_rollback(), a_rollback("r_3"))
    assert books.oddities == []
