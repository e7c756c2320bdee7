"""What must be true of a world at rest: each question answers with what is wrong. Knows the tables, and none
of the product's code."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.chaos.oracle import truth_of
from tests.consumer.scripted import TOPIC
from tests.simulation.judgement_of_calls import CALLERS, DEAD, DONE, UNKNOWN, CallJudge, Fate
from tests.simulation.load import Told
from tests.simulation.process import LETTERS
from tests.simulation.watching import KINDS, REPLAY_HEADER

OPEN, REPLAYED = 0, 1
OURS = ("sales", *CALLERS)


class Letter(NamedTuple):
    id: str
    partition: int
    offset: int
    handler: str | None
    reason: str
    state: int
    redemption: str
    kind: str
    """These two: empty where the record is malformed."""


class Judge:
    """Compares what the log was given with what the database, the outside and the letters' topic have."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._fates = world.outside.fates
        records = [record for log in world.log.topics[TOPIC].values() for record in log]
        self._accepted = [
            (record, world.watcher.told[record.value])
            for record in records
            if dict(record.headers).get(REPLAY_HEADER) is None
        ]
        told = [told for _, told in self._accepted]
        self._truth = truth_of(told)
        self._events = events_of(told)
        self._effects = {
            (name, redemption, KINDS[kind]): Fate(state, generation)
            for name, redemption, kind, state, generation in world.store.ask(
                "SELECT n.name, e.redemption_id, e.kind, e.state, e.generation FROM effects e "
                "JOIN names n ON n.id = e.handler"
            )
        }
        self._letters = [
            Letter(*row)
            for row in world.store.ask(
                "SELECT id, partition, \"offset\", handler, reason, state, coalesce(redemption_id, ''), "
                "coalesce(kind, '') FROM dead_letters"
            )
        ]

    def faults(self) -> Iterator[str]:
        """Everything that is wrong, in words; nothing when the promises held."""
        yield from self._balances()
        yield from self._sales()
        yield from self._letters_of_records()
        yield from self._letters_of_effects()
        yield from self._letters_on_their_topic()
        yield from CallJudge(self._world, self._events, self._effects).faults()
        # A lease of before a restore may look like one of after it, but for the record it was given.
        for table in ("payloads",) if self._world.watcher.restores else ("payloads", "bundles"):
            if left := self._world.store.ask(f"SELECT * FROM {table}"):  # noqa: S608 - one of two words
                yield f"{table} that nobody needs any more: {left}"

    def _balances(self) -> Iterator[str]:
        rows = self._world.store.ask("SELECT customer_id, points FROM balances WHERE points <> 0")
        if wrong := sorted(set(rows) ^ set(self._truth.balances.items())):
            yield f"balances differ: {wrong}"

    def _sales(self) -> Iterator[str]:
        """One row for each event that was not refused: neither lost nor twice."""
        bad = self._fates.unfit_sale | self._fates.unwanted_sale
        found = Counter(self._world.store.ask("SELECT redemption_id, kind FROM sales"))
        for redemption, kind in self._events if "sales" in self._world.weather.handlers else ():
            state, generation = self._effects.get(("sales", redemption, kind), UNKNOWN)
            due, times = int(state == DONE), found.pop((redemption, kind), 0)
            if times != due:
                yield f"sale of {redemption} {kind} is there {times} times, not {due}"
            if state not in ((DONE, DEAD) if redemption in bad else (DONE,)):
                yield f"sale of {redemption} {kind} ended as {state}"
            if redemption in bad and state == DONE and not (generation or self._world.outside.mended):
                yield f"sale of {redemption} {kind} was unfit and is done"
        if found:
            yield f"sales nobody asked for: {sorted(found)}"

    def _letters_of_records(self) -> Iterator[str]:
        """Each record that deserves a letter has one, and no other has."""
        due: dict[tuple[int, int, str | None], str] = {}
        for record, told in self._accepted:
            if told.malformed:
                due[record.partition, record.offset, None] = told.malformed
            if told.refused:
                due[record.partition, record.offset, "loyalty"] = told.refused
        found = {
            (letter.partition, letter.offset, letter.handler): letter.reason
            for letter in self._letters
            if letter.handler not in OURS
        }
        if due != found:
            yield f"letters of records differ: {sorted(set(due.items()) ^ set(found.items()), key=str)}"
        places = Counter((letter.partition, letter.offset, letter.handler) for letter in self._letters)
        if twice := [place for place, times in places.items() if times > 1]:
            yield f"records with two letters of one handler: {twice}"

    def _letters_of_effects(self) -> Iterator[str]:
        """A dead effect has an open letter; one that is not dead has none, or one that was replayed."""
        restored = self._world.watcher.restores
        for letter in self._letters:
            if letter.handler not in OURS:
                continue
            state = self._effects.get((letter.handler, letter.redemption, letter.kind), UNKNOWN).state
            # A backup taken between a replay and its mark knows the letter as open.
            if letter.state == OPEN and state != DEAD and not restored:
                yield f"an open letter of an effect in state {state}: {letter}"
            if letter.state == REPLAYED and state == DEAD:
                yield f"a replayed letter of a dead effect: {letter}"
        dead = {key for key, fate in self._effects.items() if fate.state == DEAD and key[0] in OURS}
        buried = {(one.handler, one.redemption, one.kind) for one in self._letters if one.state == OPEN}
        if missing := dead - buried:
            yield f"dead effects without an open letter: {sorted(missing)}"

    def _letters_on_their_topic(self) -> Iterator[str]:
        published = {
            dict(record.headers)["redemptions-dead-letter-id"].decode()
            for log in self._world.log.topics[LETTERS].values()
            for record in log
        }
        if missing := {letter.id for letter in self._letters} - published:
            yield f"letters that never came to their topic: {sorted(missing)}"


def events_of(accepted: list[Told]) -> list[tuple[str, str]]:
    """Redemption and kind of what the merchant's handlers are called for."""
    return sorted(
        {
            (told.meaning["redemption"], told.kind)
            for told in accepted
            if told.meaning and told.kind != "failed"
        }
    )
