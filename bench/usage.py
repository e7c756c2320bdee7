"""What a process and its children use, as Linux tells it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MEMORY = PAGE * os.sysconf("SC_PHYS_PAGES")
"""Bytes that the machine has."""
TIMES = slice(11, 15)
"""User and system time, of the process and of its children that have ended."""
RESIDENT = 21
"""Pages. Both are places in /proc/PID/stat behind the command's name."""


class Usage(NamedTuple):
    cpu_seconds: float
    rss_bytes: int
    """Shared pages count once for each process that has them."""

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """A process and all below it that still live; zero for one that is gone."""
        cpu, rss = 0.0, 0
        for each in _family(pid):
            try:
                fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            cpu += sum(map(int, fields[TIMES])) / TICKS
            rss += int(fields[RESIDENT]) * PAGE
        return cls(cpu, rss)


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = " ".join(tasks.read_text() for tasks in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return
    for child in children.split():
        yield from _family(int(child))
