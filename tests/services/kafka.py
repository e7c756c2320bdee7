"""A real Apache Kafka for the tests: one node in KRaft mode that can be killed and brought back."""

import base64
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

ROOT = Path(__file__).parents[2]
LIBS = ROOT / ".cache" / "kafka-libs"
POM = ROOT / "tests" / "kafka" / "pom.xml"
PROPERTIES = ROOT / "tests" / "kafka" / "server.properties"
START_SECONDS = 120.0
"""Five on a machine with nothing else to do."""


class Kafka:
    """One broker of its own, in a directory of its own, on ports the system chose once and for all."""

    def __init__(
        self, directory: Path, extra: dict[str, str] | None = None, users: dict[str, str] | None = None
    ) -> None:
        """`extra`: server properties beside or instead of those of the template, with the same $names.
        `users`: passwords by name, for SCRAM-SHA-512."""
        self.directory = directory
        self._users = users or {}
        self.port, self.sasl_port, controller_port = _free_ports(3)
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        self._properties = directory / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        template = PROPERTIES.read_text() + "".join(
            f"{name}={value}\n" for name, value in (extra or {}).items()
        )
        self._properties.write_text(
            Template(template).substitute(
                port=self.port,
                sasl_port=self.sasl_port,
                controller_port=controller_port,
                log_dir=directory / "data",
            )
        )

    def start(self) -> None:
        """Start, and return once it answers."""
        if not (self.directory / "data").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            scram = [
                f"--add-scram=SCRAM-SHA-512=[name={user},password={password}]"
                for user, password in self._users.items()
            ]
            format_storage = ["format", f"--cluster-id={cluster}", *scram, "--config"]
            self._java("kafka.tools.StorageTool", *format_storage).wait(START_SECONDS)
        self._process = self._java("kafka.Kafka")
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("Kafka did not start:\n" + (self.directory / "log").read_text()[-2000:])
            time.sleep(0.1)

    def kill(self) -> None:
        """As a power cut would: no goodbye to anybody."""
        if self._process:
            # A broker that a test has frozen would not be waited for otherwise.
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Hold connections open and answer nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def _java(self, main: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = ["java", "-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{LIBS}/*", main, *arguments]
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen([*command, str(self._properties)], stdout=log, stderr=log)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _missing() -> str | None:
    """Why no Kafka can be started here; fetches the jars if they are all that is missing."""
    if any(LIBS.glob("kafka_2.13-*.jar")):
        return None if shutil.which("java") else "no Java found"
    for tool in ("java", "mvn"):
        if not shutil.which(tool):
            return f"no {tool} found (install Java 17 and Maven, or set KAFKA_BOOTSTRAP_SERVERS)"
    LIBS.parent.mkdir(exist_ok=True)
    # One at a time: tests run in several processes, and Maven's own store is made for one.
    with LIBS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return None if any(LIBS.glob("kafka_2.13-*.jar")) else _fetch()


def _fetch() -> str | None:
    partial = LIBS.with_suffix(".partial")
    fetched = subprocess.run(
        ["mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={partial}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        return f"Maven could not fetch Kafka: {fetched.stdout[-500:]}{fetched.stderr[-500:]}"
    partial.rename(LIBS)
    return None


@pytest.fixture(scope="session")
def kafka_libs() -> None:
    """Skips, or fails under CI=true, where no Kafka can be started."""
    if reason := _missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"Kafka tests cannot run: {reason}")
        pytest.skip(f"NO KAFKA: {reason}")


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a Kafka shared by all tests: use topics and groups of your own names."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given
        return
    request.getfixturevalue("kafka_libs")
    broker = Kafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker.bootstrap_servers
    broker.kill()


@pytest.fixture
def own_kafka(kafka_libs: None, tmp_path: Path) -> Iterator[Kafka]:
    """A started Kafka of the test's own, to be killed, frozen and restarted."""
    broker = Kafka(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.kill()
