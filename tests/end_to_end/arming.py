"""Kills the process at one chosen step: for tests of what a crash there leaves behind."""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any, Literal, NamedTuple


class Kill(NamedTuple):
    """Where the process ends."""

    place: str
    """`module:function` or `module:Class.method`, where it is defined."""
    moment: Literal["before", "after"] = "before"
    call: int = 1
    """1: at the first call."""

    def __str__(self) -> str:
        return f"{self.moment} {self.place.rpartition(':')[2]}" + (f" #{self.call}" if self.call > 1 else "")


def arm(kill: Kill) -> None:
    """From now on this process ends at `kill`."""
    module, _, path = kill.place.partition(":")
    owner: Any = import_module(module)
    *outer, name = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    original = getattr(owner, name)
    deadly = _deadly(original, kill)
    # A function has a name in every module that imported it.
    for holder in [owner] if outer else list(sys.modules.values()):
        if getattr(holder, name, None) is original:
            setattr(holder, name, deadly)


def _deadly(original: Callable[..., Any], kill: Kill) -> Callable[..., Any]:
    calls = 0

    def counted(moment: str) -> None:
        nonlocal calls
        calls += moment == kill.moment
        if moment == kill.moment and calls == kill.call:
            os.kill(os.getpid(), signal.SIGKILL)

    @wraps(original)
    def plain(*values: Any, **named: Any) -> Any:
        counted("before")
        result = original(*values, **named)
        counted("after")
        return result

    @wraps(original)
    async def awaited(*values: Any, **named: Any) -> Any:
        counted("before")
        result = await original(*values, **named)
        counted("after")
        return result

    return awaited if iscoroutinefunction(original) else plain
