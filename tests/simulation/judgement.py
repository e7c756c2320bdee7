"""What must be true of a world at rest: each question answers with what is wrong. Knows the tables, and none
of the product's code."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from tests.chaos.oracle import truth_of
from tests.consumer.scripted import TOPIC
from tests.simulation.load import Told
from tests.simulation.outside import ATTEMPTS, Call
from tests.simulation.process import LETTERS
from tests.simulation.watching import KINDS, REPLAY_HEADER

DONE, DEAD, SKIPPED = 0, 2, 3
OPEN, REPLAYED = 0, 1
CALLERS = ("caller", "payer")
OURS = ("sales", *CALLERS)
UNANSWERED = (None, "not sent", "unknown")
LEASE_SLACK = 1.5
"""Seconds out of touch after which a lease may run out: it is renewed that late at the earliest."""


class Fate(NamedTuple):
    """An effect's row."""

    state: int | None
    generation: int


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


UNKNOWN = Fate(None, 0)


class Judge:
    """Compares what the log was given with what the database, the outside and the letters' topic have."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._fates = world.outside.fates
        records = [record for log in world.log.topics[TOPIC].values() for record in log]
        self._accepted = [
            (record, world.watcher.told[record.value])
            for record in records
            if record.header(REPLAY_HEADER) is None
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
        yield from self._calls()
        for table in ("payloads", "bundles"):
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
        for redemption, kind in self._events:
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

    def _calls(self) -> Iterator[str]:
        """Each event's calls were made and answered; repeated only where nobody could know."""
        calls: dict[str, list[Call]] = defaultdict(list)
        for call in self._world.outside.calls:
            calls[call.key].append(call)
        for name in CALLERS:
            for redemption, kind in self._events:
                made = calls.get(f"{name}:default:{kind}:{redemption}", [])
                fate = self._effects.get((name, redemption, kind), UNKNOWN)
                for wrong in self._wrong_end(name, redemption, made, fate.state):
                    yield f"the call of {name} for {redemption} {kind} {wrong}"
                yield from self._repeats(made, fate.generation)
        for redemption, kind in self._events:
            one, other = (calls.pop(f"{name}:default:{kind}:{redemption}", []) for name in CALLERS)
            yield from self._in_turn(one, other)
            yield from self._careful(
                other, self._effects.get(("payer", redemption, kind), UNKNOWN).generation
            )
        if calls:
            yield f"calls nobody asked for: {sorted(calls)}"

    def _wrong_end(self, name: str, redemption: str, made: list[Call], state: int | None) -> Iterator[str]:
        answers = [call.answer for call in made]
        wanted = {DONE: "ok", SKIPPED: "skipped"}.get(-1 if state is None else state)
        if state == DEAD:
            if not self._deserved(answers, 1 if name == "payer" else ATTEMPTS):
                yield f"is dead after {answers}"
        elif wanted is None:
            yield f"ended as {state}"
        elif wanted not in answers:
            yield f"is {wanted} and was never made"
        if state == SKIPPED and redemption not in self._fates.skipped_call:
            yield "was skipped"

    def _deserved(self, answers: list[str | None], failures: int) -> bool:
        # A claim counts the try beforehand: lost with its worker or with the answer to its commit, it counts.
        # A backup holds leases of before, and who had them is not asked.
        away = sum(1 for machine, _, _ in self._world.troubles if machine)
        lost = self._world.store.counted["commit's answer lost"] + self._world.watcher.restores
        return "refused" in answers or sum(answer != "ok" for answer in answers) + away + lost >= failures

    def _repeats(self, made: list[Call], generation: int) -> Iterator[str]:
        if any(call.number > ATTEMPTS for call in made):
            yield f"{made[0].key} was called more than {ATTEMPTS} times"
        if self._world.watcher.restores:
            return  # what an older database has forgotten is done again
        again = [
            (before, after)
            for number in {call.number for call in made}
            for before, after in pairwise(call for call in made if call.number == number)
            if before.answer not in UNANSWERED and not self._explained(before, after)
        ]
        if len(again) > generation:  # each replay begins to count anew
            yield f"{made[0].key} was called for one try twice: {again}"
        for before, after in pairwise(made):
            over = before.ended is not None and before.ended <= after.began
            known = over and before.answer not in ("ok", "skipped")
            if not known and not self._explained(before, after):
                yield f"{after.key} was called again: {before}, {after}"

    def _careful(self, made: list[Call], generation: int) -> Iterator[str]:
        """Repeated where it was surely not carried out, or an operator asked for it."""
        again = [(before, after) for before, after in pairwise(made) if before.answer != "not sent"]
        if len(again) > generation and not self._world.watcher.restores:
            yield f"{made[0].key} was called again without being asked for: {again}"

    def _in_turn(self, first: list[Call], then: list[Call]) -> Iterator[str]:
        """Nobody is called before the handler ahead has tried."""
        if then and not any(call.began < then[0].began for call in first) and not self._gave_up(then[0]):
            yield f"{then[0].key} was called before its turn"

    def _gave_up(self, before: Call) -> bool:
        """Whether enough workers were lost by then for an effect to die of it without a call."""
        gone = [since for machine, since, _ in self._world.troubles if machine and since < before.began]
        lost: int = self._world.store.counted["commit's answer lost"]
        return len(gone) + lost >= ATTEMPTS

    def _explained(self, before: Call, after: Call) -> bool:
        """Whether the first caller was gone, or out of touch for longer than its lease."""
        away = 0.0
        for machine, since, seconds in self._world.troubles:
            if machine in (None, before.machine):
                away += max(0.0, min(after.began, since + seconds) - max(before.began, since))
        return away > LEASE_SLACK


def events_of(accepted: list[Told]) -> list[tuple[str, str]]:
    """Redemption and kind of what the merchant's handlers are called for."""
    return sorted(
        {
            (told.meaning["redemption"], told.kind)
            for told in accepted
            if told.meaning and told.kind != "failed"
        }
    )
