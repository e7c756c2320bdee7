"""The words of a worker benchmark: a cell, the stage it is given, what was measured."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from bench.events import Events

Store = Literal["none", "sqlite", "postgres"]
Counted = Literal["offsets", "effects"]


class Stage(NamedTuple):
    """Where a cell plays: all its own but the broker and the events."""

    bootstrap: str
    events: Events
    group: str
    directory: Path
    database_url: str
    """PostgreSQL: an empty database. SQLite: a file that is not there yet. Empty: the cell stores nothing."""
    admin_port: int
    """Free, for a cell that is asked for its metrics."""


class Command(NamedTuple):
    arguments: Sequence[str]
    environment: Mapping[str, str]


class Unprepared(Exception):
    """A cell cannot play on this machine, and why."""


class Cell(NamedTuple):
    """One way of doing the work, in processes of its own, measured from outside."""

    name: str
    prepare: Callable[[Stage], Awaitable[Command]]
    """Lays a schema and the like; returns what to run. Raises Unprepared."""
    store: Store = "none"
    stored: str = ""
    """Counts the rows that stand for one event each: there must be as many as offsets committed."""
    counted: Counted = "offsets"
    """What makes an event done: its offset is committed, or its effect has been run."""
    members: int = 1
    """Consumers in the group; nothing is measured before all of them have joined."""
    warm_up: float = 0.0
    """Seconds not measured after that: a JVM has to compile its code first."""


class Measured(msgspec.Struct, frozen=True):
    """One play of one cell."""

    cell: str
    round: int
    events: int
    seconds: float
    rate: float
    """Events a second, from the first to the last batch that was seen done."""
    cpu: dict[str, float]
    """CPU milliseconds for 1,000 events: of the cell's processes (`own`) and of the services."""
    rss_mib: float
    """The most that the cell's processes held at once."""
    detail: dict[str, Any] = {}
