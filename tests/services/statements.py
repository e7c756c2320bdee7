"""What a database on SQLite is asked, told to a test."""

from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.driver import Driver
from storage.sqlite_connection import IN_ONE_TRIP, Told
from storage.sqlite_driver import SqliteDriver


def statements_of(database: Database) -> dict[str, Any]:
    """Filled from now on: every statement of a transaction, with its last parameters."""
    asked: dict[str, Any] = {}
    driver_of = database.driver_of

    def watched(connection: AsyncConnection) -> Driver:
        driver = cast(SqliteDriver, driver_of(connection))
        answer = driver._answer

        async def noted(sql: str, parameters: Any) -> Told:
            asked.update(parameters if sql == IN_ONE_TRIP else [(sql, parameters)])
            return await answer(sql, parameters)

        driver._answer = noted
        return driver

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def streamed(_: Any, __: Any, sql: str, parameters: Any, *___: Any) -> None:
        asked[sql] = parameters

    database.driver_of = watched
    return asked


async def plan_of(database: Database, statement: str, parameters: Any) -> list[str]:
    """How SQLite goes about it, a line for each step."""
    async with database.transaction() as transaction:
        rows = await transaction.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row.detail for row in rows]
