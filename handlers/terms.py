"""On what terms an effect handler's calls are made: what it declares, and what a file says instead."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

OnUnknown = Literal["retry", "give_up"]
Seconds = Annotated[float, Meta(gt=0, le=10 * 365 * 86_400)]


class Retry(NamedTuple):
    """When an effect that failed is tried again: full jitter over an exponentially growing wait."""

    attempts: int | None = 8
    """Tries before the dead letter; None: never dead by counting."""
    first: float = 1.0
    """Seconds before the second try, at most."""
    factor: float = 2.0
    longest: float = 3600.0
    """Longest wait, seconds."""
    age: float | None = None
    """Seconds since the effect was stored after which a try that fails is the last one; None: no limit. The
    time that its dependency's breaker was open does not count."""
    at_once: int = 0
    """Further tries within a second or two, before the effect goes back to the database. Each counts."""

    def wait(self, attempts: int, random: float) -> float:
        """Seconds after try number `attempts`; `random` in [0, 1)."""
        try:
            grown = self.first * self.factor ** (attempts - 1)
        except OverflowError:  # a float holds no more, and nobody waits so long
            grown = self.longest
        return random * min(self.longest, grown)


class Terms(NamedTuple):
    concurrency: int
    """Tries that run at the same time in one worker."""
    timeout: float
    """Seconds one try may take."""
    retry: Retry
    rate: float | None = None
    """Tries begun a second in one worker; None: no limit."""
    on_unknown: OnUnknown = "retry"
    """What becomes of an effect when nobody knows whether its call was carried out."""
    after: frozenset[str] = frozenset()
    """Handlers that must have settled the same event first."""


def terms_of(handler: Any) -> Terms:
    """What an effect handler declares; the attributes it leaves out have the defaults of `Terms`."""
    after: Collection[str] = getattr(handler, "after", ())
    return Terms(
        handler.concurrency,
        handler.timeout,
        handler.retry,
        getattr(handler, "rate", None),
        getattr(handler, "on_unknown", "retry"),
        frozenset({after} if isinstance(after, str) else after),
    )


class RetryTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A `[retry]` table of a configuration file. What it leaves out stays as it was."""

    attempts: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    first: Seconds | UnsetType = UNSET
    factor: Annotated[float, Meta(ge=1, le=100)] | UnsetType = UNSET
    max: Seconds | UnsetType = UNSET
    """The longest wait."""
    age: Seconds | UnsetType = UNSET
    at_once: Annotated[int, Meta(ge=0, le=10)] | UnsetType = UNSET

    def over(self, retry: Retry) -> Retry:
        """`retry` with what this table says."""
        given = {
            name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET
        }
        if "max" in given:
            given["longest"] = given.pop("max")
        return retry._replace(**given)


class TermsTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A handler's table in a delivery policy. What it leaves out is as the handler declares."""

    concurrency: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET
    timeout: Annotated[float, Meta(gt=0, le=86_400)] | UnsetType = UNSET
    rate: Annotated[float, Meta(gt=0, le=1_000_000)] | UnsetType = UNSET
    on_unknown: OnUnknown | UnsetType = UNSET
    retry: RetryTable = RetryTable()

    def over(self, terms: Terms) -> Terms:
        """`terms` with what this table says."""
        return Terms(
            terms.concurrency if self.concurrency is UNSET else self.concurrency,
            terms.timeout if self.timeout is UNSET else self.timeout,
            self.retry.over(terms.retry),
            terms.rate if self.rate is UNSET else self.rate,
            terms.on_unknown if self.on_unknown is UNSET else self.on_unknown,
            terms.after,
        )
