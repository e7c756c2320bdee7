"""Starting up: what does not answer yet is waited for, what is wrong ends the start at once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryFile

import structlog

from events.failures import Misconfigured, Unavailable

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.5
TELL_SECONDS = 5.0


async def wait_for(name: str, start: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Call `start` until it succeeds, for at most `seconds`, with a line every 5 s.

    Raises the last Unavailable when the time is up; lets everything else through at once.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    told = loop.time() - TELL_SECONDS
    while True:
        try:
            await start()
            return
        except Unavailable as unavailable:
            now = loop.time()
            if now >= end:
                raise Unavailable(
                    unavailable.reason, f"gave up waiting for the {name} after {seconds:g} s: {unavailable}"
                ) from unavailable
            if now - told >= TELL_SECONDS:
                told = now
                log.warning("waiting_to_start", what=name, reason=str(unavailable), seconds=round(end - now))
        await asyncio.sleep(PAUSE_SECONDS)


def writable(directory: Path) -> None:
    """Make the data dir if need be. Raises Misconfigured when nothing can be written there."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory) as probe:
            probe.write(b"probe")
    except OSError as wrong:
        reason = "a file is in its place" if isinstance(wrong, FileExistsError) else wrong.strerror
        raise Misconfigured(
            "data_dir",
            f"cannot write to the data dir {directory} ({reason}): mend it or set REDEMPTIONS_DATA_DIR",
        ) from wrong
