"""What must be true at every commit, of the database's and of the log's. Knows the tables, not their code."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.consumer.scripted import TOPIC
from tests.simulation.load import Told
from tests.simulation.loop import Machine

KINDS = {0: "succeeded", 1: "rolled_back", 2: "failed", 9: "dead-letter"}
NUMBERS = {kind: number for number, kind in KINDS.items()}
REPLAY_HEADER = "redemptions-replay-letter"
LEASED = (
    "SELECT tenant, redemption_id, handler, kind, lease_number, leased_until FROM effects "
    "WHERE state = 1 AND lease_owner IS NOT NULL"
)
STANDING = "SELECT n.id FROM handler_states s JOIN names n ON n.name = s.handler WHERE s.standing <> 0"
FACT = {
    "succeeded": "SELECT 1 FROM facts WHERE redemption_id = ? AND succeeded",
    "rolled_back": "SELECT 1 FROM facts WHERE redemption_id = ? AND reversed",
}


class Held(NamedTuple):
    """A lease as it stands in the database, and who took it."""

    number: int
    until: int
    """Milliseconds since 1970."""
    holder: Machine | None
    """None: nobody knows, as it comes out of a backup."""


class Watcher:
    """Looks at the world whenever something is committed, and says what is wrong at once."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.told: dict[bytes, Told] = {told.body: told for told in world.load}
        self._positions: dict[int, int] = {}
        self._highest: dict[int, int] = {}
        self._leases: dict[tuple[Any, ...], Held] = {}
        self.restores = 0
        world.store.on_commit = self._committed
        world.log.on_commit = self._log_committed
        world.log.on_append = self._appended

    def restored(self) -> None:
        """The database is an older one: what it says now is where we begin."""
        self.restores += 1
        self._positions = self.positions()
        self._leases = {
            tuple(key): Held(number, until, None) for *key, number, until in self._world.store.ask(LEASED)
        }

    def positions(self) -> dict[int, int]:
        return dict(self._world.store.ask("SELECT partition, next_offset FROM positions"))

    def what_is_left(self) -> str:
        """Why the world is not at rest; empty when it is."""
        world = self._world
        if not world.store.idle:
            return "an open transaction"
        positions, log = self.positions(), world.log
        behind = [
            (p, log.committed.get(p), positions.get(p), log.end(p))
            for p in range(log.partitions)
            if not log.committed.get(p, 0) == positions.get(p, 0) == log.end(p)
        ]
        if behind:
            return f"partitions (number, committed, stored, end): {behind}"
        if pending := world.store.ask("SELECT redemption_id, attempts FROM effects WHERE state = 1"):
            return f"pending: {pending}"
        if jobs := world.store.ask("SELECT id, state FROM jobs WHERE ended_at IS NULL"):
            return f"jobs: {jobs}"
        waiting = {
            str(process.machine): reasons for process in world.processes if (reasons := process.waits_for)
        }
        return f"not ready: {waiting}" if waiting else ""

    def _committed(self, machine: Machine) -> None:
        self._watch_positions()
        self._watch_leases(machine)

    def _watch_positions(self) -> None:
        positions = self.positions()
        for partition, end in positions.items():
            begin = self._positions.get(partition, 0)
            if end < begin:
                self._world.broken(f"position of partition {partition} went back from {begin} to {end}")
            for record in self._world.log.topics[TOPIC][partition][begin:end]:
                for what in self._without_outcome(record):
                    self._world.broken(f"passed {partition}:{record.offset} without {what}")
            self._highest[partition] = max(end, self._highest.get(partition, 0))
        self._positions = positions

    def _watch_leases(self, machine: Machine) -> None:
        """Only who leased an effect says how it went, nobody else leases it before its time is up, and nobody
        as long as its handler stands still."""
        before, self._leases = self._leases, {}
        now, standing = int(self._world.store_time() * 1000), self._words(STANDING)
        for *parts, number, until in self._world.store.ask(LEASED):
            key = tuple(parts)
            was = before.pop(key, None)
            if was is not None and was.number == number:
                self._leases[key] = was._replace(until=until)
                continue
            self._leases[key] = Held(number, until, machine)
            if key[2] in standing:
                self._world.broken(f"{machine} leased {key}, whose handler stands still")
            if was is not None and was.holder not in (machine, None) and was.until > now:
                self._world.broken(f"{machine} leased {key} of {was.holder} {was.until - now} ms too early")
        for key, held in before.items():
            if held.holder not in (machine, None):
                self._world.broken(f"{machine} settled {key}, which {held.holder} has leased")

    def _log_committed(self, offsets: Mapping[int, int]) -> None:
        self._world.trace("offsets", sorted(offsets.items()))
        for partition, offset in offsets.items():
            if offset > (stored := self._highest.get(partition, 0)):
                self._world.broken(f"offset {offset} of partition {partition} passed position {stored}")

    def _appended(self, record: Any) -> None:
        self._world.trace("appended", record.topic, record.partition, record.offset)
        for member in self._world.group.members:
            member.wake()

    def _without_outcome(self, record: Any) -> Iterator[str]:
        """What should be stored about a record that was passed, and is not."""
        if dict(record.headers).get(REPLAY_HEADER) is not None:
            return  # it may have come too late to change anything
        told = self.told[record.value]
        letters = self._words(
            'SELECT handler FROM dead_letters WHERE partition = ? AND "offset" = ?',
            record.partition,
            record.offset,
        )
        if told.malformed and None not in letters:
            yield "a letter"
        if told.refused and "loyalty" not in letters:
            yield "the ledger's letter"
        if told.meaning is None:
            return
        redemption, kind = told.meaning["redemption"], told.kind
        due = {"record"} if kind == "failed" else set(self._world.weather.handlers)
        marks = self._words(
            "SELECT n.name FROM effects e JOIN names n ON n.id = e.handler "
            "WHERE e.redemption_id = ? AND e.kind = ?",
            redemption,
            NUMBERS[kind],
        )
        if missing := due - marks:
            yield f"effects of {sorted(missing)}"
        if kind in FACT and not told.refused and not self._words(FACT[kind], redemption):
            yield "its fact"

    def _words(self, question: str, *parameters: Any) -> set[Any]:
        return {word for (word,) in self._world.store.ask(question, *parameters)}
