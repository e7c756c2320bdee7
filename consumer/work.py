"""What a delivery delivers: an event to an effect handler, or a dead letter to its topic."""

from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from broker.protocols import Producer, Record, TooLarge
from consumer.batch import bury
from consumer.endings import Ended
from consumer.item import Item, payload_of, read_item
from consumer.letter_record import letter_headers
from consumer.letters import DEAD_LETTER_TOPIC, letter_of
from consumer.predecessors import Predecessors
from events.failures import Refused
from handlers.protocol import Attempt, Calling, Deferred, EffectHandler, Handlers, Retry, Skipped
from handlers.terms import Terms, terms_of
from storage.bundles import RecordKey, load_bundles, release_bundles
from storage.database import Transaction
from storage.dead_letters import EventKey, Letter, event_of, letters_of_effects, load_letters
from storage.effects import Mark
from storage.leases import Lease
from storage.payloads import drop_settled_payloads, load_payloads, store_payloads


class Buried(NamedTuple):
    """An effect that is given up."""

    lease: Lease
    load: Any
    """What `load` gave for it, or None."""
    error: Exception


class Work(Protocol):
    """A kind of pending effect. `load` and `bury` run inside a transaction of the delivery, `run` outside."""

    handler: str
    terms: Terms
    predecessors: Predecessors | None
    """Whom its effects wait for; None: nobody."""

    async def load(self, transaction: Transaction, leases: Sequence[Lease]) -> dict[Mark, Any]:
        """What each attempt needs; an effect missing in the answer is buried."""

    def run(self, load: Any, lease: Lease, calling: Calling) -> Awaitable[Skipped | Deferred | None]:
        """One attempt. Raises Refused to give up, anything else to be tried again."""

    async def bury(self, transaction: Transaction, buried: Sequence[Buried]) -> None:
        """Store what an operator needs to understand and repeat it."""

    async def settle(self, transaction: Transaction, ended: Sequence[Ended]) -> None:
        """Drop or move what was kept for tries that have ended now."""


class EventWork:
    """Runs a user's effect handler on the events whose payloads were kept for it: items as a batch hands them
    over, records as they are loaded."""

    def __init__(
        self,
        handler: EffectHandler,
        group: str,
        terms: Terms | None = None,
        predecessors: Predecessors | None = None,
    ) -> None:
        """`terms`: if they are not as declared."""
        self.handler = handler.name
        self.terms = terms or terms_of(handler)
        self.predecessors = predecessors
        self._run = handler.run
        self._group = group

    async def load(self, transaction: Transaction, leases: Sequence[Lease]) -> dict[Mark, Record]:
        # Not decoded here: all at once would hold up the calls that run.
        bundled: dict[str, list[RecordKey]] = {}
        for lease in leases:
            if lease.bundle is not None:
                bundled.setdefault(lease.bundle, []).append(lease.mark.event)
        payloads = await load_bundles(transaction, bundled) if bundled else {}
        if alone := [lease.mark for lease in leases if lease.bundle is None]:
            payloads |= await load_payloads(transaction, alone)
        return {
            lease.mark: Record(*payload) for lease in leases if (payload := payloads.get(lease.mark.event))
        }

    async def settle(self, transaction: Transaction, ended: Sequence[Ended]) -> None:
        leaving = [one for one in ended if not one.result.keeps_bundle]
        bundles = Counter(one.lease.bundle for one in leaving if one.lease.bundle is not None)
        moving = {
            one.lease.mark.event: payload_of(_record(one.load))
            for one in leaving
            if one.waits and one.lease.bundle is not None and one.load is not None
        }
        if moving:
            await store_payloads(transaction, moving)
        alone = [one.lease.mark for one in leaving if one.lease.bundle is None and not one.waits]
        if alone:
            await drop_settled_payloads(transaction, alone)
        await release_bundles(transaction, {name: count for name, count in bundles.items() if name})

    def run(
        self, load: Item | Record, lease: Lease, calling: Calling
    ) -> Awaitable[Skipped | Deferred | None]:
        item = self._read(load)
        event = item.event
        if event is None:
            raise Refused("unreadable_payload", "the stored payload is not readable any more")
        key = f"{self.handler}:{event.tenant}:{event.kind}:{event.redemption_id}"
        since = None if lease.created_at is None else lease.created_at / 1000
        return self._run(
            Attempt(event, item.record.value, lease.attempts, key, lease.generation, since, calling)
        )

    async def bury(self, transaction: Transaction, buried: Sequence[Buried]) -> None:
        read = [(one, self._read(one.load)) for one in buried if one.load is not None]
        letters = {
            one.lease: letter_of(item, self._group, self.handler, one.error, one.lease.attempts)
            for one, item in read
        }
        known = await self._known(transaction, letters)
        await bury(
            transaction,
            [
                letter._replace(id=known.get(event_of(letter), letter.id), replays=lease.generation)
                for lease, letter in letters.items()
            ],
        )

    def _read(self, load: Item | Record) -> Item:
        return load if isinstance(load, Item) else read_item(load, self._group)

    async def _known(self, transaction: Transaction, letters: Mapping[Lease, Letter]) -> dict[EventKey, str]:
        """The letters of those that died before. The payload cannot tell which: it may be another record of
        the same event."""
        again = [event_of(letter) for lease, letter in letters.items() if lease.generation]
        return await letters_of_effects(transaction, self._group, self.handler, again) if again else {}


def _record(load: Item | Record) -> Record:
    return load.record if isinstance(load, Item) else load


def works_of(handlers: Handlers, group: str, all_group: str | None = None) -> list[EventWork]:
    """For each effect handler. `all_group`: the group that runs all handlers, if not `group`.

    The transactional handlers that run beside them settle when an effect is stored: nobody waits for those.
    """
    beside = {handler.name for handler in handlers.transactional}
    works = []
    for handler in handlers.effect:
        terms = handlers.terms.get(handler.name) or terms_of(handler)
        others = terms.after - beside
        predecessors = Predecessors(others, all_group or group) if others else None
        works.append(EventWork(handler, group, terms, predecessors))
    return works


class LetterWork:
    """Puts dead letters on the dead-letter topic, for whoever listens there: at least once, never given up
    for an outage."""

    handler = DEAD_LETTER_TOPIC
    terms = Terms(concurrency=100, timeout=30.0, retry=Retry(attempts=None, first=1.0, longest=60.0))
    predecessors: Predecessors | None = None

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def load(self, transaction: Transaction, leases: Sequence[Lease]) -> dict[Mark, Letter]:
        letters = await load_letters(transaction, [lease.mark.redemption_id for lease in leases])
        return {lease.mark: letter for lease in leases if (letter := letters.get(lease.mark.redemption_id))}

    async def run(self, load: Letter, lease: Lease, calling: Calling) -> None:
        try:
            await self._producer.append(self._topic, load.value, key=load.key, headers=letter_headers(load))
        except TooLarge as error:
            raise Refused("too_large", "the dead-letter topic takes no record of this size") from error

    async def bury(self, transaction: Transaction, buried: Sequence[Buried]) -> None:
        """Nothing: the letter itself is stored, and its effect's row says why it is not on the topic."""

    async def settle(self, transaction: Transaction, ended: Sequence[Ended]) -> None:
        """Nothing: letters are kept."""
