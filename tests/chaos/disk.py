"""A disk that can be filled and emptied: a small file system of our own, or a limit on the size of files."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

MEGABYTES = 24


class Disk(Protocol):
    """Where the data dir lies."""

    place: Path

    def fill(self, pid: int) -> None:
        """From now on nothing that `pid` writes finds room."""

    def clear(self, pid: int) -> None: ...


class SmallDisk:
    """A tmpfs, full because of a neighbour's file."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / "ballast"

    def fill(self, pid: int) -> None:
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while ballast.write(bytes(4096)):
                pass

    def clear(self, pid: int) -> None:
        self._ballast.unlink()


class LimitedFiles:
    """Any disk: the process may not make its files any larger. Needs no rights."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self, pid: int) -> None:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        smallest = min(file.stat().st_size for file in self.place.glob("data/*.db*"))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (smallest, hard))

    def clear(self, pid: int) -> None:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Disk]:
    """The real thing where we may mount, else the limit."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield LimitedFiles(place)
        return
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def limited_files(place: Path) -> Iterator[Disk]:
    place.mkdir()
    yield LimitedFiles(place)
