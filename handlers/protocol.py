"""The shapes a handler can have: what a user writes one against, and all that the worker knows of it."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from events.outcome import Outcome
from storage.database import Transaction


class Skipped(NamedTuple):
    """A handler has nothing to do for this event, and says why (a reason code)."""

    reason: str


class Deferred(NamedTuple):
    """A handler has something to do, but not now: it is asked again after `seconds`, and this try does not
    count. The reason is for people, like that of an error."""

    seconds: float
    reason: str


Verdicts = Mapping[int, Refused | Skipped]
"""By index into the events given: those refused or skipped. The rest is done."""


class TransactionalHandler(Protocol):
    """Writes to the database only, in the worker's own transaction: exactly once."""

    name: str

    @property
    def kinds(self) -> Collection[Kind]:
        """The kinds of event it is called for."""

    keeps_marks: bool
    """True: its own tables remember what was applied, so it is called for duplicates too (and may learn from
    them). False, the usual: the worker stores a mark for each event and calls it for new ones only."""

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        """Apply a batch, in a savepoint of its own.

        Anything raised but Unavailable undoes this call and splits the batch until the one bad event is
        alone. Must not touch the network or other connections, nor await anything but the transaction.
        """


class Attempt(NamedTuple):
    """One try at an effect."""

    event: RedemptionEvent
    body: bytes
    """The delivered body, byte for byte."""
    number: int
    """1 for the first try."""
    key: str
    """The idempotency key: the same for each try, for ever. Pass it to whatever is called."""


class Retry(NamedTuple):
    """When an effect that failed is tried again: full jitter over an exponentially growing wait."""

    attempts: int | None = 8
    """Tries before the dead letter; None: never dead by counting."""
    first: float = 1.0
    """Seconds before the second try, at most."""
    factor: float = 2.0
    longest: float = 3600.0
    """Longest wait, seconds."""

    def wait(self, attempts: int, random: float) -> float:
        """Seconds after try number `attempts`; `random` in [0, 1)."""
        try:
            grown = self.first * self.factor ** (attempts - 1)
        except OverflowError:  # a float holds no more, and nobody waits so long
            grown = self.longest
        return random * min(self.longest, grown)


class EffectHandler(Protocol):
    """Calls the outside world: at least once, with an idempotency key that never changes."""

    name: str

    @property
    def kinds(self) -> Collection[Kind]:
        """The kinds of event it is asked about."""

    concurrency: int
    """Tries that run at the same time in one worker."""
    timeout: float
    """Seconds one try may take."""
    retry: Retry

    def wants(self, event: RedemptionEvent) -> bool:
        """Whether an effect row is stored for this event at all. Must be quick and pure."""

    async def run(self, attempt: Attempt) -> Skipped | Deferred | None:
        """Do it. Raise Refused to give up at once, anything else to be tried again by schedule."""


class Observer(Protocol):
    """Is told what became of each delivery, after the commit. Stores nothing, must not raise or block."""

    def settled(self, outcomes: Sequence[Outcome]) -> None: ...


class Handlers(NamedTuple):
    """What a worker runs."""

    transactional: tuple[TransactionalHandler, ...] = ()
    effect: tuple[EffectHandler, ...] = ()
    observers: tuple[Observer, ...] = ()
