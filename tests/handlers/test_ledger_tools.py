"""Adjusting by hand, restating under another policy, explaining and exporting."""

import asyncio

import pytest

from events.failures import Misconfigured, Refused, Unavailable
from handlers.loyalty.adjustment import Adjustment, adjust
from handlers.loyalty.explanation import Explanation, explain
from handlers.loyalty.policy_file import parse_policy
from handlers.loyalty.policy_history import admit
from handlers.loyalty.report import ExportedEntry, exported
from handlers.loyalty.restatement import Restated, restate
from storage.audit_queries import AuditFilter, read_audit
from tests.handlers.books import Books
from tests.handlers.deliveries import TENANT, a_delivery, a_rollback, a_sale

DOUBLE = parse_policy('[[versions]]\nversion = "double"\npoints = 2')
BOTH = parse_policy('[[versions]]\nversion = "both"\nbeneficiary = "both"')
BONUS = parse_policy('[[versions]]\nversion = "bonus"\nbonuses = [{ points = 7, campaign_ids = ["camp_1"] }]')
GIFT = Adjustment(TENANT, "anna", -5, "goodwill", "case-1")


async def adjusted(books: Books, adjustment: Adjustment) -> bool:
    return await adjust(books.database, adjustment, "ops")


async def restated(books: Books, *, dry_run: bool = False) -> list[Restated]:
    return [each async for each in restate(books.database, books.policy, dry_run=dry_run)]


async def explanation(books: Books, id: str) -> Explanation | None:
    async with books.database.snapshot() as snapshot:
        return await explain(snapshot, TENANT, id, books.policy)


async def test_an_adjustment_is_posted_once_and_the_books_agree(books: Books) -> None:
    assert await adjusted(books, GIFT)
    assert not await adjusted(books, GIFT)
    assert await books.points() == -5
    assert [(entry.kind, entry.order_key, entry.key) for entry in await books.entries()] == [
        ("adjust", None, "adjust:default:case-1")
    ]
    assert await books.findings() == []


@pytest.mark.parametrize(
    "other", [GIFT._replace(points=5), GIFT._replace(customer_id="bob"), GIFT._replace(reason="another")]
)
async def test_a_key_never_means_two_adjustments(books: Books, other: Adjustment) -> None:
    await adjusted(books, GIFT)
    with pytest.raises(Refused, match="case-1"):
        await adjusted(books, other)
    assert await books.balances_of() == {"anna": -5}


@pytest.mark.parametrize(
    "unfit",
    [
        GIFT._replace(points=0),
        GIFT._replace(customer_id="\0"),
        GIFT._replace(reason=" "),
        GIFT._replace(key=""),
    ],
)
async def test_an_adjustment_that_cannot_be_kept_is_refused(books: Books, unfit: Adjustment) -> None:
    with pytest.raises(Refused):
        await adjusted(books, unfit)
    assert await books.entries() == []


async def test_an_adjustment_is_on_record_first_and_completed_by_the_same_once_more(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise Unavailable("database_unavailable", "the database is down")

    with monkeypatch.context() as patch:
        patch.setattr("handlers.loyalty.adjustment._post", broken)
        with pytest.raises(Unavailable):
            await adjusted(books, GIFT)
    assert await books.entries() == []
    async with books.database.snapshot() as snapshot:
        (deed,) = [deed async for deed in read_audit(snapshot, AuditFilter())]
    assert (deed.who, deed.subject, deed.what, deed.outcome) == ("ops", "anna", {"points": -5}, None)
    with pytest.raises(Refused, match="case-1"):
        await adjusted(books, GIFT._replace(points=5))
    assert await adjusted(books, GIFT)
    assert await books.points() == -5


async def test_two_people_with_one_key_post_it_once(books: Books) -> None:
    assert sorted(await asyncio.gather(*(adjusted(books, GIFT) for _ in range(4)))) == [False] * 3 + [True]
    assert await books.points() == -5


async def test_an_entry_by_hand_that_nobody_made_shows(books: Books) -> None:
    await adjusted(books, GIFT)
    async with books.database.transaction() as transaction:
        await transaction.run("DELETE FROM audit")
    assert [finding.subject for finding in await books.findings()] == ["entry"]


async def test_a_policy_that_changes_the_past_is_refused_until_it_is_restated(books: Books) -> None:
    await admit(books.database, books.policy)
    await books.apply(a_sale("r_1", order="ord_1", total=1_000), a_sale("r_2", order="ord_2", total=500))
    await books.apply(a_rollback("r_2"))
    books.policy = DOUBLE
    with pytest.raises(Misconfigured, match="restate"):
        await admit(books.database, DOUBLE)
    assert ["restate" in finding.problem for finding in await books.findings()] == [True]
    expected = [Restated(TENANT, "ord_1", "anna", 10)]
    assert await restated(books, dry_run=True) == expected
    assert await books.points() == 10
    assert await restated(books) == expected
    assert await restated(books) == []
    assert await books.points() == 20
    assert [entry.kind for entry in await books.entries(order="ord_1")] == ["earn", "adjust"]
    assert await books.findings() == []
    await admit(books.database, DOUBLE)


async def test_points_for_several_accounts_come_and_go_together(books: Books) -> None:
    books.policy = BOTH
    sale = {"redemption": {"id": "r_1"}, "customer": {"id": "anna"}, "order": {"total_amount": 1_000}}
    await books.apply(a_delivery(sale | {"holder": {"id": "bob"}}))
    assert await books.balances_of() == {"anna": 10, "bob": 10}
    assert await books.findings() == []
    async with books.database.transaction() as transaction:
        await transaction.run("DELETE FROM entries WHERE customer_id = 'bob'")
        await transaction.run("DELETE FROM balances WHERE customer_id = 'bob'")
    assert [finding.subject for finding in await books.findings()] == ["order"]


async def test_a_reversal_takes_the_points_of_every_account(books: Books) -> None:
    books.policy = BOTH
    sale = {"redemption": {"id": "r_1"}, "customer": {"id": "anna"}, "order": {"total_amount": 1_000}}
    await books.apply(a_delivery(sale | {"holder": {"id": "bob"}}))
    await books.apply(a_rollback("r_1"))
    assert await books.balances_of() == {}
    assert await books.findings() == []


async def test_a_bonus_goes_with_its_redemption_and_leaves_the_orders_points(books: Books) -> None:
    books.policy = BONUS
    order = {"order": {"id": "ord_1", "total_amount": 1_000}, "customer": {"id": "anna"}, "voucher": {}}
    await books.apply(a_delivery(order | {"redemption": {"id": "r_1"}}))
    await books.apply(a_delivery(order | {"redemption": {"id": "r_2"}, "campaign": {"id": "camp_1"}}))
    assert await books.points() == 17
    await books.apply(a_rollback("r_2"))
    assert await books.points() == 10


async def test_a_duplicate_that_knows_the_campaign_brings_its_bonus(books: Books) -> None:
    books.policy = BONUS
    sale = {"redemption": {"id": "r_1"}, "customer": {"id": "anna"}, "order": {"total_amount": 1_000}}
    await books.apply(a_delivery(sale))
    await books.apply(a_delivery(sale | {"campaign": {"id": "camp_1"}}))
    await books.apply(a_delivery(sale))
    assert await books.points() == 17
    assert await books.findings() == []


async def test_an_explanation_comes_to_what_was_posted(books: Books) -> None:
    books.policy = BONUS
    sale = {
        "redemption": {"id": "r_1"},
        "customer": {"id": "anna"},
        "order": {"id": "o", "total_amount": 1_000},
    }
    await books.apply(a_delivery(sale | {"campaign": {"id": "camp_1"}}), a_rollback("r_9"))
    told = await explanation(books, "r_1")
    assert told is not None and told == await explanation(books, "o")
    assert (told.deciding, told.version, told.points) == ("r_1", "bonus", {"anna": 17})
    assert told.redemptions[0].standing == "decides"
    assert "r_1 meets the bonus unnamed: +7" in told.steps
    assert [entry.points for entry in told.entries] == [17]
    assert await explanation(books, "r_9") is None
    assert await explanation(books, "nobody") is None


async def test_an_export_holds_the_entries_of_its_time_with_their_inputs(books: Books) -> None:
    await books.apply(a_sale("r_1", total=1_000))

    async def between(since: int | None, until: int | None) -> list[ExportedEntry]:
        async with books.database.snapshot() as snapshot:
            return [entry async for entry in exported(snapshot, TENANT, since, until)]

    (entry,) = await between(None, None)
    assert (entry.policy, entry.inputs["base"]) == ("standard", 1_000)
    assert await between(None, 1) == []
    assert await between(1, None) == [entry]
