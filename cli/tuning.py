"""How the interpreter and the C library treat a process that is busy."""

import ctypes
import gc
import sys
from contextlib import suppress

COLLECTOR = (100_000, 20, 50)
"""Objects until a young collection, and how many of each generation until one of the next."""
SWITCH_SECONDS = 0.0001
"""For so long one thread may keep the interpreter's lock from another."""
M_ARENA_MAX = -8
"""Of <malloc.h>."""


def tune_memory() -> None:
    """Before there are threads."""
    # Else glibc gives SQLite's thread an arena of its own, and what one thread leaves free the other cannot
    # use: some thirty megabytes. Other C libraries have no such call, nor the need.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def tune_interpreter() -> None:
    """Once all is started."""
    # The collector need not look again at what stays, nor so often at what comes and goes. Else it takes a
    # fifth of the time of a worker that is busy with effects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)
    # SQLite's thread asks for the interpreter's lock after each statement, and would wait for 5 ms each time
    # while the main thread decodes.
    sys.setswitchinterval(SWITCH_SECONDS)
