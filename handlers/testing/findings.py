"""What the harness says: how a run came out other than the calm one."""

from collections.abc import Mapping
from pprint import pformat
from typing import NamedTuple

Outcomes = Mapping[tuple[str, str], tuple[str, str | None]]
"""By redemption id and kind: the effect's state, and the reason why it is not done."""


class Broken(AssertionError):
    """The handler does not keep what a worker promises in its name."""


class Left(NamedTuple):
    """What a run left behind."""

    outcomes: Outcomes
    seen: object
    """What the test's own eye saw."""


def compare(trouble: str, calm: Left, now: Left, *, outcomes: bool = True) -> None:
    """Raises Broken if they differ. `outcomes` False: only what was seen counts."""
    if calm.seen != now.seen:
        raise Broken(_told(trouble, "what is to be seen differs", calm.seen, now.seen))
    if outcomes and calm.outcomes != now.outcomes:
        raise Broken(_told(trouble, "events ended otherwise", calm.outcomes, now.outcomes))


def _told(trouble: str, what: str, calm: object, now: object) -> str:
    return f"{trouble}: {what}\nafter a calm run:\n{pformat(calm)}\nafter this one:\n{pformat(now)}"
