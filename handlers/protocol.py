"""The shapes a handler can have: what a user writes one against, and all that the worker knows of it."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from types import MappingProxyType
from typing import NamedTuple, Protocol

from events.event import Kind, RedemptionEvent
from events.failures import Refused
from events.outcome import Outcome
from handlers.terms import OnUnknown as OnUnknown
from handlers.terms import Retry as Retry
from handlers.terms import Terms
from storage.database import Database, Transaction


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
    them). False, the usual: the worker stores a mark for each event and calls it for new ones only.

    It may also have `keeps_ids_only = True`: what it stores is ids and numbers, so that it learns of events
    of customers who were erased. The others do not (docs/privacy.md).

    And it may have `async prepare(events) -> None`: to compute ahead what it can of a batch that probably
    comes next, while the database works on another one. No transaction is open; what comes may be another
    batch all the same."""

    async def apply(self, events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        """Apply a batch, in a savepoint of its own.

        Anything raised but Unavailable undoes this call and splits the batch until the one bad event is
        alone. Must not touch the network or other connections, nor await anything but the transaction.
        """


Calling = Callable[[str], AbstractContextManager[None]]


def calling_anybody(_: str) -> AbstractContextManager[None]:
    """Nobody is away."""
    return nullcontext()


class Attempt(NamedTuple):
    """One try at an effect."""

    event: RedemptionEvent
    body: bytes
    """The delivered body, byte for byte."""
    number: int
    """1 for the first try."""
    key: str
    """The idempotency key: the same for each try, for ever. Pass it to whatever is called."""
    generation: int = 0
    """How often operators had it replayed."""
    since: float | None = None
    """When the effect came to be, or was last replayed, in seconds since 1970; None: just now."""
    calling: Calling = calling_anybody
    """`with attempt.calling("crm"): ...` around each call, for a handler that makes several: it says what
    the call depends on, so that one that is away holds up no other. Raises Away in place of a call that is
    not to be made now; pass that on. How the block ends is how the call ended: judge the answer inside."""


class EffectHandler(Protocol):
    """Calls the outside world: at least once, with an idempotency key that never changes.

    It may have more than is listed here (`handlers.terms.Terms`, docs/delivery.md):

    - `rate: float`: tries begun a second in one worker, at most.
    - `on_unknown: OnUnknown`: "give_up" makes an effect dead, instead of calling again, when nobody knows
      whether its call was carried out: for channels that know no idempotency key.
    - `after: Collection[str]`: handlers that must have settled the same event first.
    - `dependency(event) -> str`: what the call for this event depends on, such as a channel's name; without
      it, the handler's own name. Each dependency has a circuit breaker. Must be quick and pure, from a
      small set. Where there are several calls, each says what it depends on (`Attempt.calling`).
    - `opened(database) -> AbstractAsyncContextManager`: entered before the first try in a process, left
      after the last one: for connections, which a handler has not when it is merely made.
    """

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
        """Do it. Raise Refused to give up at once, Unavailable when the dependency did not answer; it and
        anything else is tried again by schedule."""


class Observer(Protocol):
    """Is told what became of each delivery, after the commit. Stores nothing, must not raise or block."""

    def settled(self, outcomes: Sequence[Outcome]) -> None: ...


class Handlers(NamedTuple):
    """What a worker runs."""

    transactional: tuple[TransactionalHandler, ...] = ()
    effect: tuple[EffectHandler, ...] = ()
    observers: tuple[Observer, ...] = ()
    terms: Mapping[str, Terms] = MappingProxyType({})
    """Of effect handlers, by name, where they are not as declared."""

    @asynccontextmanager
    async def opened(self, database: Database) -> AsyncIterator[None]:
        """Effects are delivered in here only."""
        async with AsyncExitStack() as stack:
            for handler in self.effect:
                if hasattr(handler, "opened"):
                    await stack.enter_async_context(handler.opened(database))
            yield
