"""Each statement finds its rows by key: none walks through a tenant's whole ledger."""

from tests.handlers.books import Books
from tests.handlers.deliveries import a_rollback, a_sale
from tests.services.statements import plan_of, statements_of


async def test_no_statement_of_the_ledger_searches_by_tenant_alone(sqlite_books: Books) -> None:
    asked = statements_of(sqlite_books.database)

    await sqlite_books.apply(a_sale("r_c", parent="r_p"), a_sale("r_1", total=100))
    await sqlite_books.apply(a_rollback("r_p"), a_rollback("r_1"))
    await sqlite_books.entries("anna")
    await sqlite_books.entries(order="ord_1")
    await sqlite_books.marks("r_1")
    await sqlite_books.points()

    seen = [
        (sql, given) for sql, given in asked.items() if sql.startswith(("SELECT", "INSERT", "WITH", "UPDATE"))
    ]
    plans = [line for sql, given in seen for line in await plan_of(sqlite_books.database, sql, given)]
    assert len(seen) > 12
    assert [line for line in plans if "(tenant=?)" in line or "order_key>" in line] == []
    assert [line for line in plans if line.startswith(("SCAN f", "SCAN o", "SCAN p", "SCAN entries"))] == []
