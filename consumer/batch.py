"""One batch, one transaction: claim the effects that are new, apply handlers, store letters and positions."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from consumer.asking import Asking, Marks, addressed, marks_of
from consumer.guard import Trial, unguarded
from consumer.isolation import Verdict, apply_isolated
from consumer.item import Item
from consumer.letters import DEAD_LETTER_TOPIC, letter_of
from consumer.newcomers import Newcomers
from consumer.silence import silence
from events.failures import Failure, Malformed, Refused
from handlers.protocol import EffectHandler, Handlers, TransactionalHandler
from storage.database import Transaction
from storage.dead_letters import Letter, clean, store_letters
from storage.effects import Mark, delete_effects, has_dead, insert_effects, revive_effects, set_effects
from storage.positions import store_positions
from storage.schema import LETTER_KIND, State


class Batch:
    """Settles decoded records within an open transaction. Made for one batch and one try at it.

    Locks are taken in one order by every worker: effects, then what handlers lock, payloads, letters,
    positions, each set sorted bytewise.
    """

    def __init__(
        self,
        items: Sequence[Item],
        handlers: Handlers,
        group: str,
        transaction: Transaction,
        newcomers: Newcomers,
        trial: Trial | None = None,
        asking: Asking | None = None,
    ) -> None:
        """`trial`: judges the deaths; None: any number may die. `asking`: knows what was worked out ahead."""
        self._items = items
        self._handlers = handlers
        self._group = group
        self._transaction = transaction
        self._trial = trial or unguarded()
        self._asking = asking or Asking(handlers.effect)
        self._names = {handler.name for handler in handlers.transactional}
        self._names |= {handler.name for handler in handlers.effect}
        self._newcomers = newcomers
        self._depends = {handler.name: self._dependencies_of(handler) for handler in handlers.effect}
        """By handler and item; what is not there depends on the handler's own name."""
        self._marks: dict[str, Marks] = {}
        """By transactional handler, of those that do not keep marks of their own."""
        self._due: dict[str, Sequence[int]] = {}
        """By transactional handler, the indices of what it is to be applied to."""
        self._owned: dict[Mark, int] = {}
        """Effects that are this batch's to do, with the item that asked first."""
        self._new: list[Mark] = []
        """Those among them that nobody had asked for before, in the order of the items."""
        self.results: list[dict[str, str]] = [{} for _ in items]
        """What to tell about each item, by handler."""
        self.pending: set[str] = set()
        """Effect handlers that have new work to claim."""
        self.taken = newcomers.taken
        """By effect handler, what this worker has leased already."""
        self.letters: list[Letter] = []
        self.notes = transaction.notes
        self.oddities = transaction.oddities

    async def settle(
        self,
        topic: str,
        next_offsets: Mapping[int, int],
        reader: str | None = None,
        at_work: Callable[[], None] = lambda: None,
    ) -> None:
        """Do all of it; `reader`: the group whose positions move, if it is not that of the letters. `at_work`
        is called when the database is about to get most of its work.

        Raises Unavailable or Misconfigured: then roll back and settle the batch anew;
        Crossed: roll back, and settle what comes before."""
        await self._learn_names()
        self._items = await silence(self._transaction, self._items, self._handlers)
        self._set_aside()
        names = self._transaction.names
        for handler in self._handlers.transactional:
            if handler.keeps_marks:
                self._due[handler.name] = addressed(handler, self._items)
            else:
                self._marks[handler.name] = marks_of(handler, self._items, names)
        asked, parcels = self._asking.asked(self._items, names)
        self._newcomers.expect(parcels)
        at_work()
        await self._claim(asked)
        for handler in self._handlers.transactional:
            await self._apply(handler, self._due[handler.name])
        await self._keep_records(asked)
        await self._store_letters()
        await store_positions(self._transaction, reader or self._group, topic, next_offsets)

    def _set_aside(self) -> None:
        """Letters for what no handler of ours can take."""
        for item in self._items:
            if isinstance(item.meaning, Malformed):
                self.letters.append(letter_of(item, self._group, None, item.meaning, attempts=1))
            elif item.event and item.replay and item.replay.handler not in {None, *self._names}:
                gone = Refused("unknown_handler", "the handler that this was replayed for does not run here")
                self.letters.append(letter_of(item, self._group, item.replay.handler, gone, attempts=0))

    async def _learn_names(self) -> None:
        words = self._names | {item.tenant for item in self._items} | {DEAD_LETTER_TOPIC}
        await self._transaction.learn(words.union(*(told.values() for told in self._depends.values())))

    def _dependencies_of(self, handler: EffectHandler) -> dict[int, str]:
        if not hasattr(handler, "dependency"):
            return {}
        return {
            index: self._newcomers.dependencies.of(handler, item)
            for index, item in enumerate(self._items)
            if item.event and item.event.kind in handler.kinds
        }

    async def _claim(self, asked: Mapping[str, Marks]) -> None:
        """Store the effects that are new, revive those that a replay is for; the others are duplicates."""
        new: dict[Mark, State] = {}
        revived: dict[Mark, tuple[State, int]] = {}
        first: dict[Mark, int] = {}
        replayed: dict[Mark, int] = {}
        depends: dict[str, dict[Mark, str]] = {name: {} for name in asked}
        for claims, state in ((self._marks, State.DONE), (asked, State.PENDING)):
            for name, marks in claims.items():
                for index, mark in marks.items():
                    self.results[index][name] = "duplicate"
                    replay = self._items[index].replay
                    if replay is None or replay.handler is None:
                        new.setdefault(mark, state)
                        first.setdefault(mark, index)
                        if name in depends:
                            depends[name].setdefault(mark, self._depends[name].get(index, name))
                    elif replay.generation > revived.get(mark, (state, 0))[1]:
                        revived[mark] = (state, replay.generation)
                        replayed[mark] = index
        waiting = await self._newcomers.choose(self._transaction, depends)
        inserted = await insert_effects(self._transaction, new, waiting)
        self._owned = {mark: first[mark] for mark in inserted}
        self._new = [mark for mark in new if mark in inserted]
        bundles = {mark: bundle for mark in revived if (bundle := self._newcomers.bundle_of(mark))}
        for mark in await revive_effects(self._transaction, revived, bundles=bundles):
            self._owned[mark] = replayed[mark]
        for name, marks in self._marks.items():
            self._due[name] = [index for index, mark in marks.items() if self._owned.get(mark) == index]

    async def _apply(self, handler: TransactionalHandler, due: Sequence[int]) -> None:
        events = [event for index in due if (event := self._items[index].event)]
        if not events:
            return

        def judge(part: range, verdicts: Mapping[int, Verdict]) -> None:
            # A replay that dies again loses nothing: its letter is there.
            counted = [due[place] for place in part if self._items[due[place]].replay is None]
            dead = {due[at]: verdict for at, verdict in verdicts.items() if isinstance(verdict, Exception)}
            self._trial.judge(handler.name, counted, dead)

        verdicts = await apply_isolated(handler, events, self._transaction, judge)
        outcomes: dict[int, tuple[State, int, str | None]] = {}
        for place, index in enumerate(due):
            verdict = verdicts.get(place)
            if verdict is None:
                self.results[index][handler.name] = "done"
            elif isinstance(verdict, Exception):
                attempts = 1 if isinstance(verdict, Failure) else 2  # what raised was tried once more
                letter = letter_of(self._items[index], self._group, handler.name, verdict, attempts)
                self.letters.append(letter)
                self.results[index][handler.name] = f"dead letter: {letter.reason}"
                outcomes[index] = (State.DEAD, letter.attempts, letter.reason)
            else:
                self.results[index][handler.name] = f"skipped: {verdict.reason}"
                if not handler.keeps_marks:
                    outcomes[index] = (State.SKIPPED, 0, clean(verdict.reason))
        if handler.keeps_marks:
            await self._remember_refusals(handler, due, outcomes)
        else:
            marks = self._marks[handler.name]
            await set_effects(self._transaction, {marks[index]: one for index, one in outcomes.items()})

    async def _remember_refusals(
        self,
        handler: TransactionalHandler,
        due: Sequence[int],
        refused: Mapping[int, tuple[State, int, str | None]],
    ) -> None:
        """The rows here of a handler that itself marks what it has done."""
        # A replay may be of one that was discarded: no index tells of those.
        again = any(self._items[index].replay for index in due)
        number = self._transaction.names.id(handler.name)
        forgets = again or await has_dead(self._transaction, number)
        if not refused and not forgets:
            return
        marks = marks_of(handler, self._items, self._transaction.names)
        done = {marks[index] for index in due if index not in refused}
        if forgets:
            await delete_effects(self._transaction, done)
        await set_effects(
            self._transaction,
            {marks[index]: one for index, one in refused.items() if marks[index] not in done},
        )

    async def _keep_records(self, asked: Mapping[str, Marks]) -> None:
        """Keep the raw record of each event with a pending effect, for the tries to come."""
        owned: dict[Mark, Item] = {}
        for name, marks in asked.items():
            for index, mark in marks.items():
                if self._owned.get(mark) == index:
                    owned[mark] = self._items[index]
                    self.results[index][name] = "pending"
        others = {
            mark: self._items[index]
            for marks in asked.values()
            for index, mark in marks.items()
            if mark not in owned
        }
        await self._newcomers.keep(self._transaction, owned, self._new, others)
        stored = Counter(self._transaction.names.word(mark.handler) for mark in owned)
        self.pending |= {name for name, count in stored.items() if count > len(self.taken.get(name, ()))}

    async def _store_letters(self) -> None:
        if self.letters:
            await bury(self._transaction, self.letters)
            self.pending.add(DEAD_LETTER_TOPIC)


async def bury(transaction: Transaction, letters: Sequence[Letter]) -> None:
    """Store letters, each with the pending effect that puts it on the dead-letter topic, once for each time
    it died."""
    await store_letters(transaction, letters)
    await transaction.learn({letter.tenant for letter in letters} | {DEAD_LETTER_TOPIC})
    handler = transaction.names.id(DEAD_LETTER_TOPIC)
    marks = {Mark(transaction.names.id(one.tenant), one.id, handler, LETTER_KIND): one for one in letters}
    await insert_effects(transaction, dict.fromkeys(marks, State.PENDING))
    again = {mark: (State.PENDING, one.replays) for mark, one in marks.items() if one.replays}
    await revive_effects(transaction, again, (State.DONE, State.DEAD))
