"""A rolling upgrade: the schema changes beneath old workers that go on, and keeps every row there was."""

import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert, select

from events.failures import Misconfigured, Refused
from events.runtime import SystemRuntime
from storage import upgrade as upgrading
from storage.connect import connect
from storage.database import Database
from storage.schema_version import MIGRATIONS, require_schema, schema_version
from storage.upgrade import upgrade
from tests.consumer.bench import Bench, a_rollback, a_success, until
from tests.consumer.scripted import TOPIC, ScriptedLog
from tests.services.databases import SALES

REVISIONS = [each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
NEXT = '''"""What a next version may do: add."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("effects", "dead_letters", "positions", "facts", "balances"):
        op.add_column(table, sa.Column("novelty", sa.Text()))
        op.add_column(table, sa.Column("count", sa.Integer(), nullable=False, server_default="7"))
    op.create_table("novelties", sa.Column("id", sa.Text(), primary_key=True))
    op.create_index("facts_novelty", "facts", ["novelty"])
    op.execute("UPDATE facts SET novelty = customer_id")
'''


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


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The migrations of a program one version ahead of ours."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9999_next.py").write_text(NEXT.format(newest=REVISIONS[0]))
    return folder


async def test_an_upgrade_beneath_a_worker_that_works(
    empty: Database, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ScriptedLog()
    await upgrade(empty)
    async with empty.engine.begin() as connection:
        await connection.exec_driver_sql(SALES)
    old = Bench(empty, log, max_records=5)
    old.shop.verdicts["r_3"] = ValueError("no")
    old.caller.answers["r_4"] = [Refused("no", "no")]

    async def sent(first: int) -> None:
        for number in range(first, first + 20):
            await log.append(TOPIC, a_success(f"r_{number}"), partition=number % 2)

    await sent(1)
    async with old.running():
        await until(lambda: len(old.caller.calls) > 5)
        with monkeypatch.context() as ahead:
            ahead.setattr("storage.schema_version.MIGRATIONS", newer)
            with pytest.raises(Misconfigured, match="db upgrade"):
                await require_schema(empty)  # the new program waits for its schema
            await upgrade(empty)
            await require_schema(empty)
        await sent(21)
        await old.until_idle()
        # One more of the old version starts, as when the upgrade is taken back.
        await require_schema(empty)
        another = Bench(empty, log)
        await log.append(TOPIC, a_rollback("r_1"), partition=0)
        await old.until_idle()
    await another.settle_all()
    assert await another.points() == 3900
    assert await another.rows("SELECT count(*) FROM sales") == [(39,)]
    assert {letter[2] for letter in await another.letters()} == {"r_3", "r_4"}
    calls = sorted(key for key, _ in old.caller.calls + another.caller.calls)
    assert len(calls) == len(set(calls)) == 41


@pytest.mark.parametrize("revision", REVISIONS)
async def test_each_version_with_data_comes_up_to_the_newest(
    empty: Database, newer: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    monkeypatch.setattr("storage.schema_version.MIGRATIONS", newer)

    def to_revision(connection: Connection) -> None:
        config = upgrading._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    async with empty.engine.begin() as connection:
        await connection.run_sync(to_revision)
        await connection.run_sync(_fill)
        before = await connection.run_sync(_rows)
    assert (await upgrade(empty)).current == revision
    assert not (await schema_version(empty)).is_behind
    async with empty.engine.begin() as connection:
        after = await connection.run_sync(_rows)
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]]
        assert kept == rows, table


def _tables(connection: Connection) -> list[Table]:
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def _fill(connection: Connection) -> None:
    for table in _tables(connection):
        for number in (1, 2):
            connection.execute(insert(table).values({c.name: _value(c.type, number) for c in table.columns}))


def _value(column_type: Any, number: int) -> object:
    python = column_type.python_type
    return f"né'{number}" if python is str else bytes([0, 255, number]) if python is bytes else python(number)


def _rows(connection: Connection) -> Mapping[str, list[dict[str, Any]]]:
    return {
        table.name: [
            dict(row)
            for row in connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        ]
        for table in _tables(connection)
    }
