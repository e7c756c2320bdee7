"""Who works on which pending effect, until when, and how it went: owner and number decide whose word counts.

Statements name a lease by the effect's whole key and never by its state: a planner that sees the partial
index of pending rows prefers to read all of it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from storage.database import Transaction
from storage.effects import KEY, RETURNING_KEY, SAME_KEY, Mark
from storage.rows import Rows
from storage.schema import State

FRONT = 5_000
"""How many of the longest due are searched for leases that ended: what was claimed lies at the front."""
SUSPECT_TRIES = 2
"""An effect whose worker was lost so often, perhaps by its fault, is taken over alone."""


class Lease(NamedTuple):
    """A claimed effect: only who holds owner and number may say how it went."""

    mark: Mark
    number: int
    attempts: int
    """Tries so far, this one included."""
    generation: int
    """0, or that of the replay which revived the effect."""
    dependency: str = ""
    bundle: str | None = None
    """Holds its record; None: `payloads` does."""
    taken_over: bool = False
    """Somebody else's lease ended without a word: perhaps the call was made."""
    created_at: int | None = None
    """When the effect came to be, or was last revived, in milliseconds; None: just now."""

    @property
    def suspect(self) -> bool:
        """Whether more than one worker was lost with it."""
        return self.attempts > SUSPECT_TRIES


class Result(NamedTuple):
    """How one attempt went."""

    lease: Lease
    state: State
    """PENDING: try again after `wait`."""
    attempts: int
    """Tries that count."""
    wait: int = 0
    """Milliseconds until the next try."""
    error: str | None = None
    """None keeps what a pending effect had."""
    keeps_bundle: bool = False
    """A pending effect whose record stays where it is."""
    dependency: int | None = None
    """What a pending effect waits for from now on; None: the same."""


async def lease_due(
    transaction: Transaction,
    handler: int,
    dependency: int,
    owner: str,
    limit: int,
    seconds: float,
    *,
    counts: bool = True,
) -> list[Lease]:
    """Lease up to `limit` due effects of a handler and dependency that nobody had a lease of, the longest due
    first. `counts`: their tries begin at once; else the count is stored when they have ended.

    Rows that another worker is claiming right now are passed over, not waited for.
    """
    leases = await _claim(
        transaction,
        f"due_at <= {{now}} AND leased_until IS NULL ORDER BY due_at LIMIT :limit {_skip(transaction)}",
        handler=handler,
        dependency=dependency,
        owner=owner,
        limit=limit,
        lease=int(seconds * 1000),
        counted=int(counts),
    )
    return leases if counts else [lease._replace(attempts=lease.attempts + 1) for lease in leases]


async def lease_any(
    transaction: Transaction, handler: int, dependency: int, owner: str, seconds: float
) -> list[Lease]:
    """Lease the effect that is or falls due first, if there is one that nobody had a lease of, to find out
    whether its dependency answers again."""
    return await _claim(
        transaction,
        f"leased_until IS NULL ORDER BY due_at LIMIT 1 {_skip(transaction)}",
        handler=handler,
        dependency=dependency,
        owner=owner,
        lease=int(seconds * 1000),
    )


async def take_over(
    transaction: Transaction,
    handler: int,
    dependency: int,
    owner: str,
    limit: int,
    seconds: float,
    *,
    suspects: bool,
) -> list[Lease]:
    """Lease effects whose lease has ended without a word, among those longest due. `suspects`: those that
    were lost more than once, else the others."""
    leases = await _claim(
        transaction,
        f"leased_until <= {{now}} AND attempts {'>=' if suspects else '<'} {SUSPECT_TRIES} "
        "AND due_at <= (SELECT max(due_at) FROM (SELECT due_at FROM effects WHERE handler = :handler "
        f"AND dependency = :dependency AND state = {State.PENDING} AND due_at <= {{now}} ORDER BY due_at "
        f"LIMIT {FRONT}) AS front) ORDER BY due_at LIMIT :limit {_skip(transaction)}",
        handler=handler,
        dependency=dependency,
        owner=owner,
        limit=limit,
        lease=int(seconds * 1000),
    )
    return [lease._replace(taken_over=True) for lease in leases]


async def _claim(transaction: Transaction, which: str, *, counted: int = 1, **parameters: Any) -> list[Lease]:
    # Materialized: joined any other way, the rows to claim could be looked up again for each row compared,
    # and more of them locked than asked for.
    rows = await transaction.run(
        "WITH r AS MATERIALIZED (SELECT tenant, redemption_id, handler, kind FROM effects "
        f"WHERE handler = :handler AND dependency = :dependency AND state = {State.PENDING} AND {which}) "
        "UPDATE effects SET attempts = effects.attempts + CAST(:counted AS integer), "
        "lease_number = effects.lease_number + 1, "
        "lease_owner = CAST(:owner AS text), leased_until = {now} + CAST(:lease AS bigint) FROM r "
        f"WHERE {SAME_KEY} {RETURNING_KEY}, effects.lease_number, effects.attempts, effects.generation, "
        "effects.dependency, effects.bundle, effects.created_at",
        counted=counted,
        **parameters,
    )
    word = transaction.names.word
    return [_lease(tuple(row), word) for row in rows]


def _lease(row: tuple[Any, ...], word: Callable[[int], str]) -> Lease:
    *mark, number, attempts, generation, dependency, bundle, created_at = row
    return Lease(Mark(*mark), number, attempts, generation, word(dependency), bundle, created_at=created_at)


def _skip(transaction: Transaction) -> str:
    return "{lock} SKIP LOCKED" if transaction.dialect == "postgresql" else ""


async def renew_leases(
    transaction: Transaction, owner: str, leases: Iterable[Lease], seconds: float
) -> set[Mark]:
    """Extend leases; returns those still held."""
    ordered = sorted((lease.mark, lease.number) for lease in leases)
    if not ordered:
        return set()
    rows = await transaction.run(
        "UPDATE effects SET leased_until = {now} + CAST(:lease AS bigint) FROM {rows} "
        f"WHERE {SAME_KEY} AND effects.lease_owner = :owner "
        f"AND effects.lease_number = r.number {RETURNING_KEY}",
        Rows(KEY | {"number": "integer"}, [(*mark, number) for mark, number in ordered]),
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
    all_done = all(one.state is State.DONE for one in results)
    # What is done needs few columns, and is nearly all there is.
    sets, columns = (SETS_DONE, OF_DONE) if all_done else (SETS, OF_ANY)
    rows = Rows(columns, sorted(_stored(one)[: len(columns)] for one in results))
    held = f"{SAME_KEY} AND effects.lease_owner = :owner AND effects.lease_number = r.number"
    update = f"effects SET {sets}, lease_owner = NULL, leased_until = NULL FROM {{rows}} WHERE {held}"
    # Told of the few that are lost: to be told of each that is ours costs as much as to send it.
    if transaction.dialect == "postgresql":
        lost = await transaction.run(
            f"WITH r AS MATERIALIZED (SELECT * FROM {{rows}}), "
            f"ours AS (UPDATE {update.replace('{rows}', 'r')} {RETURNING_KEY}, effects.lease_number) "
            f"SELECT {', '.join(HELD)} FROM r EXCEPT SELECT * FROM ours",
            rows,
            owner=owner,
        )
    else:
        # The only writer may look first.
        lost = await transaction.run(
            f"SELECT {', '.join(f'r.{name}' for name in HELD)} FROM {{rows}} "
            f"WHERE NOT EXISTS (SELECT 1 FROM effects WHERE {held})",
            Rows(HELD, [row[: len(HELD)] for row in rows.rows]),
            owner=owner,
        )
        # FAIL: whatever fails, the transaction is rolled back, so SQLite need not be able to undo this alone.
        await transaction.run(f"UPDATE OR FAIL {update}", rows, owner=owner)
    gone = set(map(tuple, lost))
    if not gone:
        return {one.lease.mark for one in results}
    return {one.lease.mark for one in results if (*one.lease.mark, one.lease.number) not in gone}


HELD = KEY | {"number": "integer"}
OF_DONE = HELD | {"attempts": "integer", "error": "text"}
OF_ANY = OF_DONE | {"state": "smallint", "wait": "bigint", "keeps": "smallint", "dependency": "smallint"}
SETS_DONE = f"state = {State.DONE}, attempts = r.attempts, last_error = r.error, bundle = NULL, due_at = NULL"
SETS = (
    "state = r.state, attempts = r.attempts, "
    f"last_error = CASE WHEN r.state = {State.PENDING} THEN coalesce(r.error, effects.last_error) "
    "ELSE r.error END, bundle = CASE WHEN r.keeps = 1 THEN effects.bundle END, "
    "dependency = coalesce(r.dependency, effects.dependency), "
    f"due_at = CASE WHEN r.state = {State.PENDING} THEN {{now}} + r.wait END"
)


def _stored(one: Result) -> tuple[Any, ...]:
    """The columns of OF_ANY."""
    lease, state, attempts, wait, error, keeps, dependency = one
    return (*lease.mark, lease.number, attempts, error, int(state), wait, int(keeps), dependency)


async def still_leased(transaction: Transaction, leased: Iterable[tuple[str, Lease]]) -> set[Mark]:
    """Which of these leases, with their owners, stand as they were stored with their effects: the bundle is
    that of one transaction."""
    rows = await transaction.run(
        "SELECT r.tenant, r.redemption_id, r.handler, r.kind FROM {rows} "
        f"JOIN effects ON {SAME_KEY} WHERE effects.lease_owner = r.owner AND effects.lease_number = 1 "
        "AND effects.bundle = r.bundle AND effects.leased_until > {now}",
        Rows(
            KEY | {"owner": "text", "bundle": "text"},
            sorted((*lease.mark, owner, lease.bundle) for owner, lease in leased),
        ),
    )
    return {Mark._make(row) for row in rows}
