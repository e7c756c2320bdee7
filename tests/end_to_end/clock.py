"""A process whose wall clock a test sets while it runs, as an administrator or a bad time server would."""

import time
from pathlib import Path

CLOCK = "CLOCK_AHEAD"
"""The environment variable that names the file with the seconds by which the clock is ahead."""


def set_ahead(file: Path, seconds: float) -> None:
    """The file is replaced as a whole: nobody reads half a number."""
    written = file.with_suffix(".new")
    written.write_text(str(seconds))
    written.replace(file)


def follow(file: Path) -> None:
    """From now on this process's wall clock is ahead by what the file says; its monotonic one goes on."""
    real = time.time
    time.time = lambda: real() + float(file.read_text())
