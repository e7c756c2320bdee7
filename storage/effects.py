"""The effects table: marks of what was done, and the pending work; who works on it is in storage.leases."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from storage.database import Transaction
from storage.inserting import insert_absent
from storage.rows import Rows
from storage.schema import State

KEY = {"tenant": "smallint", "redemption_id": "text", "handler": "smallint", "kind": "smallint"}
SAME_KEY = (
    "effects.tenant = r.tenant AND effects.redemption_id = r.redemption_id "
    "AND effects.handler = r.handler AND effects.kind = r.kind"
)
NEW = KEY | {
    "state": "smallint",
    "attempts": "integer",
    "dependency": "smallint",
    "bundle": "text",
    "lease_owner": "text",
    "lease_number": "integer",
    "leased_until": "bigint",
    "due_at": "bigint",
    "created_at": "bigint",
}
RETURNING_KEY = "RETURNING effects.tenant, effects.redemption_id, effects.handler, effects.kind"


class Mark(NamedTuple):
    """The key of an effect. Sorts as the database does, which the lock order needs."""

    tenant: int
    redemption_id: str
    handler: int
    kind: int

    @property
    def event(self) -> tuple[int, str, int]:
        """The key of the event itself: tenant, redemption id, kind."""
        return self.tenant, self.redemption_id, self.kind


class Waiting(NamedTuple):
    """What is known of a pending effect beyond its key."""

    dependency: int
    bundle: str | None
    """Holds its record; None: the record is in `payloads`, or the effect needs none."""
    attempts: int = 0
    owner: str | None = None
    """Who leases it from the beginning; None: whoever claims it."""
    lease_seconds: float = 0.0


async def insert_effects(
    transaction: Transaction,
    states: Mapping[Mark, State],
    waiting: Mapping[Mark, Waiting] | None = None,
) -> set[Mark]:
    """Store the effects that are new, in these states, pending ones due now; returns those that were new."""
    if not states:
        return set()
    rows = Rows(NEW, _new_rows(states, waiting or {}, transaction.now))
    known = await insert_absent(transaction, "effects", rows, len(KEY))
    return {mark for mark in states if mark not in known} if known else set(states)


def _new_rows(
    states: Mapping[Mark, State], waiting: Mapping[Mark, Waiting], now: int
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for mark in sorted(states):
        state = int(states[mark])
        due = now if state == State.PENDING else None
        if (known := waiting.get(mark)) is None:
            dependency = None if due is None else mark.handler
            rows.append((*mark, state, 0, dependency, None, None, 0, None, due, due))
            continue
        dependency, bundle, attempts, owner, seconds = known
        number, until = (0, None) if owner is None else (1, now + int(seconds * 1000))
        rows.append((*mark, state, attempts, dependency, bundle, owner, number, until, due, due))
    return rows


async def revive_effects(
    transaction: Transaction,
    states: dict[Mark, tuple[State, int]],
    ended: Collection[State] = (State.DEAD, State.DISCARDED),
    bundles: Mapping[Mark, str] | None = None,
) -> set[Mark]:
    """Claim effects for a replay: those that `ended` in an earlier generation begin anew.

    `states` gives the new state and the replay's generation, `bundles` what holds their records. Returns
    those claimed: a replay record that comes twice, or for an effect that has been done meanwhile, claims
    nothing.
    """
    if not states:
        return set()
    among = ", ".join(str(int(state)) for state in ended)
    rows = await transaction.run(
        "UPDATE effects SET state = r.state, generation = r.generation, attempts = 0, last_error = NULL, "
        "created_at = {now}, dependency = coalesce(effects.dependency, effects.handler), bundle = r.bundle, "
        f"due_at = CASE WHEN r.state = {State.PENDING} THEN {{now}} END FROM {{rows}} WHERE {SAME_KEY} "
        f"AND effects.state IN ({among}) AND effects.generation < r.generation "
        f"{RETURNING_KEY}",
        Rows(
            KEY | {"state": "smallint", "generation": "integer", "bundle": "text"},
            [
                (*mark, int(state), generation, (bundles or {}).get(mark))
                for mark, (state, generation) in sorted(states.items())
            ],
        ),
    )
    return {Mark._make(row) for row in rows}


async def set_effects(
    transaction: Transaction, outcomes: Mapping[Mark, tuple[State, int, str | None]]
) -> None:
    """Write the outcome (state, attempts, error) of effects that the caller's transaction has claimed."""
    if outcomes:
        await transaction.run(
            "INSERT INTO effects (tenant, redemption_id, handler, kind, state, attempts, last_error) "
            "SELECT r.tenant, r.redemption_id, r.handler, r.kind, r.state, r.attempts, r.error "
            "FROM {rows} WHERE true ON CONFLICT (tenant, redemption_id, handler, kind) DO UPDATE SET "
            "state = excluded.state, attempts = excluded.attempts, last_error = excluded.last_error",
            Rows(
                KEY | {"state": "smallint", "attempts": "integer", "error": "text"},
                [
                    (*mark, int(state), attempts, error)
                    for mark, (state, attempts, error) in sorted(outcomes.items())
                ],
            ),
        )


async def discard_effects(transaction: Transaction, generations: Mapping[Mark, int]) -> None:
    """Discard the effects that are dead, unless they died in a later generation than that."""
    if generations:
        await transaction.run(
            f"UPDATE effects SET state = {State.DISCARDED} FROM {{rows}} WHERE {SAME_KEY} "
            f"AND effects.state = {State.DEAD} AND effects.generation <= r.generation",
            Rows(
                KEY | {"generation": "integer"}, [(*mark, generations[mark]) for mark in sorted(generations)]
            ),
        )


async def end_effects(transaction: Transaction, marks: Mapping[Mark, State], error: str) -> list[str | None]:
    """Discard these effects as far as they are in the state given with them; returns, of those that were, the
    bundles that they need no longer."""
    ordered = Rows(KEY | {"state": "smallint"}, [(*mark, int(marks[mark])) for mark in sorted(marks)])
    if not ordered:
        return []
    lock = "FOR UPDATE OF effects" if transaction.dialect == "postgresql" else ""
    await transaction.run(
        f"SELECT 1 FROM {{rows}} CROSS JOIN effects WHERE {SAME_KEY} ORDER BY effects.tenant, "
        f"effects.redemption_id, effects.handler, effects.kind {lock}",
        ordered,
    )
    rows = await transaction.run(
        f"UPDATE effects SET state = {State.DISCARDED}, last_error = :error, due_at = NULL, "
        f"leased_until = NULL, lease_owner = NULL FROM {{rows}} WHERE {SAME_KEY} "
        "AND effects.state = r.state RETURNING effects.bundle",
        ordered,
        error=error,
    )
    return [row.bundle for row in rows]


async def states_of(transaction: Transaction, marks: Iterable[Mark]) -> dict[Mark, State]:
    """The states of those that have a row."""
    rows = await transaction.run(
        "SELECT effects.tenant, effects.redemption_id, effects.handler, effects.kind, effects.state "
        f"FROM {{rows}} JOIN effects ON {SAME_KEY}",
        Rows(KEY, sorted(marks)),
    )
    return {Mark._make(row[:4]): State(row.state) for row in rows}


async def dependencies_of(transaction: Transaction, handler: int) -> list[int]:
    """Those that pending effects of a handler have: one look at the index for each."""
    rows = await transaction.run(
        "WITH RECURSIVE d(id) AS (SELECT min(dependency) FROM effects "
        f"WHERE handler = :handler AND state = {State.PENDING} UNION ALL "
        "SELECT (SELECT min(dependency) FROM effects "
        f"WHERE handler = :handler AND state = {State.PENDING} AND dependency > d.id) "
        "FROM d WHERE d.id IS NOT NULL) SELECT id FROM d WHERE id IS NOT NULL",
        handler=handler,
    )
    return [row.id for row in rows]


async def has_dead(transaction: Transaction, handler: int) -> bool:
    """Whether any effect of this handler is dead: a look at a tiny index."""
    return bool(
        await transaction.run(
            f"SELECT 1 FROM effects WHERE handler = :handler AND state = {State.DEAD} LIMIT 1",
            handler=handler,
        )
    )


async def delete_effects(transaction: Transaction, marks: Iterable[Mark]) -> None:
    """Remove rows whose handler has now marked these effects in tables of its own."""
    found = await transaction.run(
        "SELECT effects.tenant, effects.redemption_id, effects.handler, effects.kind "
        f"FROM {{rows}} JOIN effects ON {SAME_KEY}",
        Rows(KEY, sorted(marks)),
    )
    # Key by key: SQLite would search a set of keys by their first column alone.
    await transaction.run_each(
        "DELETE FROM effects WHERE tenant = :tenant AND redemption_id = :redemption_id "
        "AND handler = :handler AND kind = :kind",
        [row._asdict() for row in found],
    )
