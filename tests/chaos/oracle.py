"""What must be true once a load is processed. Knows nothing of the product, and reads none of its bytes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from tests.handlers.model import expected_balances


class Delivered(Protocol):
    """An accepted delivery, as whoever made it meant it."""

    @property
    def body(self) -> bytes: ...
    @property
    def meaning(self) -> Mapping[str, Any] | None:
        """What it says of a redemption, in the words of `tests.handlers.model`; None: nothing."""

    @property
    def kind(self) -> str:
        """What happened: succeeded, rolled_back or failed."""

    @property
    def malformed(self) -> str | None:
        """Why nobody can read it."""

    @property
    def refused(self) -> str | None:
        """Why the ledger cannot use it."""


class Letter(NamedTuple):
    """What tells dead letters apart, as far as a sender can know."""

    body: bytes
    reason: str
    handler: str | None


class Truth(NamedTuple):
    balances: dict[str, int]
    """Points by customer; those with none are left out."""
    letters: Counter[Letter]
    """One for each accepted delivery that deserves it. A lost answer may make it two."""
    calls: set[tuple[str, str]]
    """Kind and redemption of each event that the outside has to hear of."""


def truth_of(accepted: Iterable[Delivered]) -> Truth:
    tellings: list[dict[str, Any]] = []
    letters = Counter[Letter]()
    calls: set[tuple[str, str]] = set()
    for one in accepted:
        if one.malformed:
            letters[Letter(one.body, one.malformed, None)] += 1
        if one.meaning is None:
            continue
        if one.kind != "failed":
            calls.add((one.kind, one.meaning["redemption"]))
        if one.refused:
            letters[Letter(one.body, one.refused, "loyalty")] += 1
        else:
            tellings.append(dict(one.meaning))
    return Truth(expected_balances(tellings), letters, calls)
