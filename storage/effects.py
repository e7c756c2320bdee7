"""The effects table: marks of what was done, and the pending work with its leases and schedule."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from storage.database import Transaction
from storage.handler_states import STOPPED
from storage.rows import Rows
from storage.schema import State

KEY = {"tenant": "smallint", "redemption_id": "text", "handler": "smallint", "kind": "smallint"}
SAME_KEY = (
    "effects.tenant = r.tenant AND effects.redemption_id = r.redemption_id "
    "AND effects.handler = r.handler AND effects.kind = r.kind"
)
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


class Lease(NamedTuple):
    """A claimed effect: only who holds owner and number may say how it went."""

    mark: Mark
    number: int
    attempts: int
    """Tries so far, this one included."""
    generation: int
    """0, or that of the replay which revived the effect."""


class Result(NamedTuple):
    """How one attempt went."""

    lease: Lease
    state: State
    """PENDING: try again after `wait`."""
    wait: int = 0
    """Milliseconds until the next try."""
    error: str | None = None
    counts: bool = True
    """False: the try is taken back, as if it had not been claimed."""


async def insert_effects(transaction: Transaction, states: dict[Mark, State]) -> set[Mark]:
    """Store the effects that are new, in these states, pending ones due now; returns those that were new."""
    if not states:
        return set()
    rows = await transaction.run(
        "INSERT INTO effects (tenant, redemption_id, handler, kind, state, due_at) "
        "SELECT r.tenant, r.redemption_id, r.handler, r.kind, r.state, "
        f"CASE WHEN r.state = {State.PENDING} THEN {{now}} END FROM {{rows}} WHERE true "
        f"ON CONFLICT DO NOTHING {RETURNING_KEY.replace('effects.', '')}",
        Rows(KEY | {"state": "smallint"}, [(*mark, int(states[mark])) for mark in sorted(states)]),
    )
    return {Mark._make(row) for row in rows}


async def revive_effects(
    transaction: Transaction,
    states: dict[Mark, tuple[State, int]],
    ended: Collection[State] = (State.DEAD, State.DISCARDED),
) -> set[Mark]:
    """Claim effects for a replay: those that `ended` in an earlier generation begin anew.

    `states` gives the new state and the replay's generation. Returns those claimed: a replay record that
    comes twice, or for an effect that has been done meanwhile, claims nothing.
    """
    if not states:
        return set()
    among = ", ".join(str(int(state)) for state in ended)
    rows = await transaction.run(
        "UPDATE effects SET state = r.state, generation = r.generation, attempts = 0, last_error = NULL, "
        f"due_at = CASE WHEN r.state = {State.PENDING} THEN {{now}} END FROM {{rows}} WHERE {SAME_KEY} "
        f"AND effects.state IN ({among}) AND effects.generation < r.generation "
        f"{RETURNING_KEY}",
        Rows(
            KEY | {"state": "smallint", "generation": "integer"},
            [(*mark, int(state), generation) for mark, (state, generation) in sorted(states.items())],
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


async def end_effects(transaction: Transaction, marks: Mapping[Mark, State], error: str) -> int:
    """Discard these effects as far as they are in the state given with them; returns how many were."""
    ordered = Rows(KEY | {"state": "smallint"}, [(*mark, int(marks[mark])) for mark in sorted(marks)])
    if not ordered:
        return 0
    lock = "FOR UPDATE OF effects" if transaction.dialect == "postgresql" else ""
    await transaction.run(
        f"SELECT 1 FROM {{rows}} CROSS JOIN effects WHERE {SAME_KEY} ORDER BY effects.tenant, "
        f"effects.redemption_id, effects.handler, effects.kind {lock}",
        ordered,
    )
    rows = await transaction.run(
        f"UPDATE effects SET state = {State.DISCARDED}, last_error = :error, due_at = NULL, "
        f"leased_until = NULL, lease_owner = NULL FROM {{rows}} WHERE {SAME_KEY} "
        f"AND effects.state = r.state {RETURNING_KEY}",
        ordered,
        error=error,
    )
    return len(rows)


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
        [dict(row._mapping) for row in found],
    )


async def lease_due(
    transaction: Transaction, handler: int, owner: str, limit: int, seconds: float, *, take_over: bool = True
) -> list[Lease]:
    """Lease up to `limit` due effects of a handler, the longest due first; none while it stands still.
    Counts the attempt.

    Rows that another worker is claiming right now are passed over, not waited for. `take_over`: those with
    an expired lease count as due.
    """
    skip = "{lock} SKIP LOCKED" if transaction.dialect == "postgresql" else ""
    expired = "OR leased_until <= {now}" if take_over else ""
    # Materialized: joined any other way, the rows to claim could be looked up again for each row compared,
    # and more of them locked than asked for.
    rows = await transaction.run(
        "WITH r AS MATERIALIZED (SELECT tenant, redemption_id, handler, kind FROM effects "
        f"WHERE handler = :handler AND state = {State.PENDING} AND due_at <= {{now}} "
        f"AND :handler NOT IN ({STOPPED}) "
        f"AND (leased_until IS NULL {expired}) ORDER BY due_at LIMIT :limit {skip}) "
        "UPDATE effects SET attempts = effects.attempts + 1, lease_number = effects.lease_number + 1, "
        "lease_owner = CAST(:owner AS text), leased_until = {now} + CAST(:lease AS bigint) FROM r "
        f"WHERE {SAME_KEY} {RETURNING_KEY}, effects.lease_number, effects.attempts, effects.generation",
        handler=handler,
        owner=owner,
        limit=limit,
        lease=int(seconds * 1000),
    )
    return [Lease(Mark._make(row[:4]), row.lease_number, row.attempts, row.generation) for row in rows]


async def renew_leases(
    transaction: Transaction, owner: str, leases: Iterable[Lease], seconds: float
) -> set[Mark]:
    """Extend leases; returns those still held."""
    ordered = sorted(leases)
    if not ordered:
        return set()
    rows = await transaction.run(
        "UPDATE effects SET leased_until = {now} + CAST(:lease AS bigint) FROM {rows} "
        f"WHERE {SAME_KEY} AND effects.state = {State.PENDING} AND effects.lease_owner = :owner "
        f"AND effects.lease_number = r.number {RETURNING_KEY}",
        Rows(KEY | {"number": "integer"}, [(*lease.mark, lease.number) for lease in ordered]),
        owner=owner,
        lease=int(seconds * 1000),
    )
    return {Mark._make(row) for row in rows}


async def store_results(transaction: Transaction, owner: str, results: Sequence[Result]) -> set[Mark]:
    """Store how attempts went; returns the effects that were still ours to speak for.

    An expired lease that somebody else has claimed since changes nothing: the other's word counts.
    """
    if not results:
        return set()
    rows = await transaction.run(
        "UPDATE effects SET state = r.state, last_error = r.error, lease_owner = NULL, leased_until = NULL, "
        "attempts = effects.attempts - r.uncounted, "
        f"due_at = CASE WHEN r.state = {State.PENDING} THEN {{now}} + r.wait END FROM {{rows}} "
        f"WHERE {SAME_KEY} AND effects.state = {State.PENDING} AND effects.lease_owner = :owner "
        f"AND effects.lease_number = r.number {RETURNING_KEY}",
        Rows(
            KEY
            | {
                "number": "integer",
                "state": "smallint",
                "wait": "bigint",
                "error": "text",
                "uncounted": "integer",
            },
            [
                (
                    *result.lease.mark,
                    result.lease.number,
                    int(result.state),
                    result.wait,
                    result.error,
                    int(not result.counts),
                )
                for result in sorted(results, key=lambda result: result.lease.mark)
            ],
        ),
        owner=owner,
    )
    return {Mark._make(row) for row in rows}
