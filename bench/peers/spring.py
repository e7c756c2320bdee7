"""Builds the Java peer with Maven, once: a Spring Kafka batch listener."""

import shutil
import subprocess
from pathlib import Path

from bench.cell import Unprepared
from bench.services import CACHE

PROJECT = Path(__file__).parent / "java"
TARGET = CACHE / "peers" / "spring"


def java_command() -> list[str]:
    """What runs it. Raises Unprepared."""
    for tool in ("java", "mvn"):
        if not shutil.which(tool):
            raise Unprepared(f"no {tool} found")
    sources = [PROJECT / "pom.xml", *PROJECT.rglob("*.java")]
    built = TARGET / "built"
    if not built.exists() or built.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        done = subprocess.run(
            ["mvn", "-q", "-B", "-f", PROJECT / "pom.xml", f"-Dout={TARGET}", "package"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unprepared(f"Maven cannot build it: {done.stdout[-500:]}")
        built.touch()
    return ["java", "-Xms512m", "-Xmx512m", "-cp", f"{TARGET}/classes:{TARGET}/libs/*", "bench.BatchListener"]
