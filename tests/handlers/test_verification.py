"""Verification finds whatever was changed behind the ledger's back, and nothing when nothing was."""

import pytest

from tests.handlers.books import Books
from tests.handlers.deliveries import a_rollback, a_sale


@pytest.fixture
async def kept(books: Books) -> Books:
    await books.apply(
        a_sale("r_1", order="ord_1", total=1_000),
        a_sale("r_2", order="ord_2", total=2_000, parent="r_p"),
        a_sale("r_3", order="ord_3", customer="bob", total=500),
        a_sale("r_4", order="ord_4", customer=None, total=500),
        a_rollback("r_9"),
    )
    await books.apply(a_rollback("r_3"), a_sale("r_1", order=None, customer="aaron"))
    return books


async def test_honest_books_agree(kept: Books) -> None:
    assert await kept.findings() == []


@pytest.mark.parametrize(
    ("tampering", "subject", "key"),
    [
        ("UPDATE balances SET points = points + 1 WHERE customer_id = 'anna'", "balance", "anna"),
        ("DELETE FROM balances WHERE customer_id = 'anna'", "balance", "anna"),
        (
            "INSERT INTO balances SELECT tenant, 'eve', 5 FROM orders LIMIT 1",
            "balance",
            "eve",
        ),
        ("UPDATE entries SET points = points + 1 WHERE order_key = 'ord_2'", "order", "ord_2"),
        ("UPDATE entries SET customer_id = 'eve' WHERE order_key = 'ord_2'", "balance", "eve"),
        ("DELETE FROM entries WHERE order_key = 'ord_2'", "order", "ord_2"),
        ("UPDATE orders SET points = points + 1 WHERE order_key = 'ord_2'", "order", "ord_2"),
        ("UPDATE orders SET points = 1, customer_id = 'eve' WHERE order_key = 'ord_3'", "order", "ord_3"),
        ("UPDATE orders SET anonymous = false WHERE order_key = 'ord_4'", "order", "ord_4"),
        ("DELETE FROM orders WHERE order_key = 'ord_2'", "order", "ord_2"),
        ("DELETE FROM facts WHERE redemption_id = 'r_2'", "order", "ord_2"),
        ("UPDATE facts SET total_amount = 9900 WHERE redemption_id = 'r_2'", "order", "ord_2"),
        ("UPDATE facts SET customer_id = 'eve' WHERE redemption_id = 'r_2'", "order", "ord_2"),
        ("UPDATE facts SET reversed = true WHERE redemption_id = 'r_p'", "order", "ord_2"),
        ("UPDATE facts SET order_key = 'ord_1' WHERE redemption_id = 'r_2'", "facts", "r_2"),
        ("UPDATE facts SET succeeded = true WHERE redemption_id = 'r_9'", "facts", "r_9"),
    ],
)
async def test_tampering_shows(kept: Books, tampering: str, subject: str, key: str) -> None:
    async with kept.database.transaction() as transaction:
        await transaction.run(tampering)
    assert (subject, key) in {(finding.subject, finding.key) for finding in await kept.findings()}
