"""What ends a process: a signal, or the end of the parent that started it."""

import asyncio
import os
import signal
import sys


def stop_at_signal() -> asyncio.Event:
    """Set at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def stop_with_parent(stop: asyncio.Event) -> None:
    """Set `stop` at the end of standard input, which the parent holds open: no orphan may go on consuming."""
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        if not os.read(stdin, 1024):
            loop.remove_reader(stdin)
            stop.set()

    loop.add_reader(stdin, read)
