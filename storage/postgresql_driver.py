"""asyncpg as we use it below SQLAlchemy."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy.exc import IntegrityError

from storage.driver import ABSENT
from storage.errors import fault_of
from storage.row import Row, row_maker
from storage.rows import PARAMETER, Rows


class PostgresqlDriver:
    """A `Driver`. SQLAlchemy begins the transaction with the first statement that it runs itself."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        numbered = _Numbered.of(sql)
        try:
            records = await self._connection.fetch(numbered.sql, *numbered.values(parameters))
        except Exception as error:
            raise fault_of(error, sql) from error
        return list(map(row_maker(tuple(records[0].keys())), records)) if records else []

    async def run_rows(self, sql: str, rows: Rows, parameters: Mapping[str, Any]) -> Sequence[Row]:
        source, given = rows.document() if "INSERT INTO" in sql else rows.arrays()
        return await self.run(sql.replace("{rows}", source), {**parameters, **given})

    async def run_each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        numbered = _Numbered.of(sql)
        try:
            await self._connection.executemany(numbered.sql, [numbered.values(row) for row in rows])
        except Exception as error:
            raise fault_of(error, sql) from error

    async def insert_new(self, table: str, rows: Rows) -> None:
        """By COPY, at half of what an INSERT of the same rows costs the server."""
        try:
            await self._connection.copy_records_to_table(table, records=rows.rows, columns=list(rows.columns))
        except Exception as error:
            raise fault_of(error, f"COPY {table}") from error

    async def insert_all_or_none(self, table: str, rows: Rows) -> None:
        await self.run(f"SAVEPOINT {ABSENT}", {})
        try:
            await self.insert_new(table, rows)
        except IntegrityError:
            await self.run(f"ROLLBACK TO SAVEPOINT {ABSENT}", {})
            raise
        await self.run(f"RELEASE SAVEPOINT {ABSENT}", {})


class _Numbered(NamedTuple):
    """A statement with its parameters by number, as PostgreSQL takes them."""

    sql: str
    names: tuple[str, ...]

    @staticmethod
    @lru_cache(maxsize=512)
    def of(sql: str) -> "_Numbered":
        names: dict[str, str] = {}

        def number(match: re.Match[str]) -> str:
            return names.setdefault(match[1], f"${len(names) + 1}")

        return _Numbered(PARAMETER.sub(number, sql), tuple(names))

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        return [parameters[name] for name in self.names]
