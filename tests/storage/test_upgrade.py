"""Migrations on SQLite and PostgreSQL: from nothing, with data, twice, by two at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from events.failures import Misconfigured
from events.runtime import SystemRuntime
from storage.connect import connect
from storage.database import Database
from storage.schema import metadata
from storage.schema_version import require_schema, revisions, schema_version
from storage.upgrade import _config, upgrade


@pytest.fixture
async def empty_sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    database = connect(f"sqlite:///{tmp_path / 'store.db'}", SystemRuntime())
    yield database
    await database.close()


@pytest.fixture
async def empty_postgres(postgres_database: str) -> AsyncIterator[Database]:
    database = connect(postgres_database, SystemRuntime())
    yield database
    await database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest) -> Database:
    database: Database = request.getfixturevalue(f"empty_{request.param}")
    return database


async def test_from_nothing_the_migrations_make_the_schema_that_the_code_knows(empty: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    def indexes(connection: Connection) -> dict[str, dict[str, str]]:
        look = inspect(connection)
        return {
            str(index["name"]): {name: str(value) for name, value in index["dialect_options"].items()}
            for table in metadata.tables
            for index in look.get_indexes(table)
        }

    await upgrade(empty)
    async with empty.engine.begin() as connection:
        assert await connection.run_sync(differences) == []
        migrated = await connection.run_sync(indexes)
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        # The comparison does not look at partial indexes' conditions.
        assert migrated == await connection.run_sync(indexes)


async def test_alembic_knows_the_same_revisions_in_the_same_order(empty: Database) -> None:
    theirs = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]
    assert revisions() == theirs[::-1]
    await upgrade(empty)

    def current(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async with empty.engine.connect() as connection:
        assert (await schema_version(empty)).current == await connection.run_sync(current) == theirs[0]


async def test_an_upgrade_keeps_the_data_and_a_second_one_changes_nothing(empty: Database) -> None:
    before = await upgrade(empty)
    assert (before.current, before.is_behind) == (None, True)
    async with empty.transaction() as transaction:
        await transaction.run("INSERT INTO balances (tenant, customer_id, points) VALUES (1, 'anna', 103)")
    again = await upgrade(empty)
    assert (again.current, again.is_behind) == (again.newest, False)
    async with empty.snapshot() as snapshot:
        assert [tuple(row) for row in await snapshot.run("SELECT * FROM balances")] == [(1, "anna", 103)]


async def test_a_database_without_our_schema_is_refused_with_what_to_do(empty: Database) -> None:
    with pytest.raises(Misconfigured, match="redemptions db upgrade"):
        await require_schema(empty)
    await upgrade(empty)
    await require_schema(empty)


async def test_a_newer_schema_is_taken_as_it_is_during_a_rolling_upgrade(empty: Database) -> None:
    await upgrade(empty)
    async with empty.transaction() as transaction:
        await transaction.run("UPDATE alembic_version SET version_num = '9999'")
    await require_schema(empty)
    assert not (await schema_version(empty)).is_behind


@pytest.mark.postgres
async def test_two_upgrades_at_once_end_in_one_schema(postgres_database: str) -> None:
    databases = [connect(postgres_database, SystemRuntime()) for _ in range(2)]
    try:
        await asyncio.gather(*(upgrade(database) for database in databases))
        await require_schema(databases[0])
    finally:
        for database in databases:
            await database.close()
