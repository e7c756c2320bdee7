"""Each statement finds its rows by key: none walks through a tenant's whole ledger."""

from typing import Any

from sqlalchemy import event

from tests.handlers.books import Books
from tests.handlers.deliveries import a_rollback, a_sale


async def test_no_statement_of_the_ledger_searches_by_tenant_alone(sqlite_books: Books) -> None:
    statements: dict[str, Any] = {}

    @event.listens_for(sqlite_books.database.engine.sync_engine, "before_cursor_execute")
    def remember(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.startswith(("SELECT", "INSERT", "WITH", "UPDATE")):
            statements[statement] = parameters

    await sqlite_books.apply(a_sale("r_c", parent="r_p"), a_sale("r_1", total=100))
    await sqlite_books.apply(a_rollback("r_p"), a_rollback("r_1"))
    await sqlite_books.entries("anna")
    await sqlite_books.entries(order="ord_1")
    await sqlite_books.marks("r_1")
    await sqlite_books.points()

    seen = list(statements.items())
    plans = [line for statement, given in seen for line in await _plan(sqlite_books, statement, given)]
    assert len(seen) > 12
    assert [line for line in plans if "(tenant=?)" in line or "order_key>" in line] == []
    assert [line for line in plans if line.startswith(("SCAN f", "SCAN o", "SCAN p", "SCAN entries"))] == []


async def _plan(books: Books, statement: str, parameters: Any) -> list[str]:
    async with books.database.transaction() as transaction:
        rows = await transaction.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row.detail for row in rows]
