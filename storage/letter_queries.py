"""Finding dead letters for operators."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from storage.database import Transaction
from storage.row import Row
from storage.schema import LetterState

LISTED = (
    "id, state, reason, handler, redemption_id, customer_id, error, attempts, replays, topic, partition, "
    '"offset", first_seen, last_seen'
)
EXPORTED = f"{LISTED}, tenant, kind, error_class, fingerprint, consumer_group, timestamp, key, headers, value"
NO_HANDLER = ""
"""In a filter: letters that no handler could read."""
EQUAL = ("tenant", "reason", "redemption_id", "customer_id", "fingerprint")


class LetterFilter(NamedTuple):
    """Which letters; None: any. Times are milliseconds."""

    states: tuple[LetterState, ...] = (LetterState.OPEN,)
    """(): all."""
    ids: tuple[str, ...] | None = None
    tenant: str | None = None
    reason: str | None = None
    handler: str | None = None
    redemption_id: str | None = None
    customer_id: str | None = None
    fingerprint: str | None = None
    since: int | None = None
    until: int | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether anything was asked for but a state."""
        return self != LetterFilter(states=self.states)

    def where(self, dialect: str) -> tuple[str, dict[str, Any]]:
        """A WHERE clause and its parameters: columns come from here, values never become SQL."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        conditions = [f"{column} = :{column}" for column in EQUAL if column in given]
        conditions += self._states()
        conditions += ["last_seen >= :since"] if "since" in given else []
        conditions += ["first_seen < :until"] if "until" in given else []
        if self.handler is not None:
            conditions.append("handler IS NULL" if self.handler == NO_HANDLER else "handler = :handler")
        if self.ids is not None:
            conditions.append(IN_IDS[dialect])
            given["ids"] = list(self.ids) if dialect == "postgresql" else _json(self.ids)
        unbound = {"states"} | ({"handler"} if self.handler == NO_HANDLER else set())
        return " AND ".join(conditions) or "true", {n: v for n, v in given.items() if n not in unbound}

    def _states(self) -> list[str]:
        if not self.states:
            return []
        # With a plus no index is searched by it: SQLite, having no statistics, would prefer the thousands of
        # open letters to the few that are asked for.
        named = (self.ids, self.redemption_id, self.customer_id, self.fingerprint)
        column = "state" if named == (None,) * len(named) else "+state"
        if len(self.states) == 1:
            return [f"{column} = {self.states[0]}"]
        return [f"{column} IN ({', '.join(str(int(state)) for state in self.states)})"]

    def told(self) -> dict[str, Any]:
        """What was asked for, for people and the audit."""
        asked = {name: value for name, value in self._asdict().items() if value is not None}
        asked["states"] = [state.name.lower() for state in self.states or LetterState]
        return asked


IN_IDS = {
    "postgresql": "id = ANY(CAST(:ids AS text[]))",
    "sqlite": "id IN (SELECT value FROM json_each(:ids))",
}


class Group(NamedTuple):
    """Letters of one cause."""

    fingerprint: str
    handler: str | None
    error_class: str
    reason: str
    error: str
    """The message of one of them."""
    letters: int
    died_again: int
    """How many of them have been replayed at least once, and died again."""
    first_seen: int
    last_seen: int
    example: str
    """The id of one of them."""


async def find_letters(
    transaction: Transaction, wanted: LetterFilter, limit: int | None = None, columns: str = LISTED
) -> AsyncIterator[Row]:
    """Letters (columns LISTED or EXPORTED), the oldest first."""
    where, parameters = wanted.where(transaction.dialect)
    most = f"LIMIT {int(limit)}" if limit is not None else ""
    sql = f"SELECT {columns} FROM dead_letters WHERE {where} ORDER BY first_seen, id {most}"
    async for row in transaction.stream(sql, **parameters):
        yield row


async def group_letters(
    transaction: Transaction, wanted: LetterFilter, limit: int | None = None
) -> AsyncIterator[Group]:
    """Letters by cause, the largest groups first."""
    where, parameters = wanted.where(transaction.dialect)
    most = f"LIMIT {int(limit)}" if limit is not None else ""
    sql = (
        "SELECT fingerprint, handler, error_class, min(reason), min(error), count(*) AS letters, "
        "sum(CASE WHEN replays > 0 THEN 1 ELSE 0 END), min(first_seen), max(last_seen), min(id) "
        f"FROM dead_letters WHERE {where} GROUP BY fingerprint, handler, error_class "
        f"ORDER BY letters DESC, fingerprint {most}"
    )
    async for row in transaction.stream(sql, **parameters):
        yield Group._make(row)


async def show_letter(transaction: Transaction, id_: str) -> Row | None:
    """One letter, every column."""
    rows = await transaction.run(f"SELECT {EXPORTED} FROM dead_letters WHERE id = :id", id=id_)
    return rows[0] if rows else None


async def count_letters(transaction: Transaction) -> dict[str, int]:
    """How many letters there are in each state."""
    rows = await transaction.run("SELECT state, count(*) AS letters FROM dead_letters GROUP BY state")
    found = {row.state: row.letters for row in rows}
    return {state.name.lower(): found.get(state, 0) for state in LetterState}


async def count_unread(transaction: Transaction) -> int:
    """How many open letters are of records that no handler could run for."""
    rows = await transaction.run(
        f"SELECT count(*) AS letters FROM dead_letters WHERE state = {LetterState.OPEN} AND handler IS NULL"
    )
    return int(rows[0].letters)


async def count_by_handler(transaction: Transaction, wanted: LetterFilter) -> dict[str | None, int]:
    """How many letters each handler has; None: those that no handler could read."""
    where, parameters = wanted.where(transaction.dialect)
    rows = await transaction.run(
        f"SELECT handler, count(*) AS letters FROM dead_letters WHERE {where} "
        "GROUP BY handler ORDER BY letters DESC, handler",
        **parameters,
    )
    return {row.handler: row.letters for row in rows}


def _json(ids: tuple[str, ...]) -> str:
    return msgspec.json.encode(ids).decode()
