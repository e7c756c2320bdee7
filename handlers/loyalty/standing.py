"""What the ledger has posted for redemptions, and what their people have: for whoever tells them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from handlers.loyalty.posting import entry_key_prefix
from storage.database import Transaction
from storage.row import Row
from storage.rows import Rows

ORDER_OF = (
    "SELECT r.place, f.tenant, f.order_key, f.customer_id, f.parent_id, f.reversed, "
    "p.reversed AS parent_reversed FROM {rows} "
    "CROSS JOIN facts f LEFT JOIN facts p ON p.tenant = f.tenant AND p.redemption_id = f.parent_id "
    "WHERE f.tenant = r.tenant AND f.redemption_id = r.redemption_id"
)
POSTED = (
    "SELECT r.place, sum(e.points) AS points, "
    "sum(CASE WHEN e.points < 0 THEN e.points ELSE 0 END) AS taken, min(e.at) AS at "
    "FROM {rows} CROSS JOIN entries e WHERE e.tenant = r.tenant AND e.key > r.after AND e.key < r.before "
    "AND e.order_key = r.order_key AND e.customer_id = r.account GROUP BY r.place"
)
BALANCES = (
    "SELECT r.place, b.points FROM {rows} CROSS JOIN balances b "
    "WHERE b.tenant = r.tenant AND b.customer_id = r.account"
)
EARLIER = (
    "SELECT r.place FROM {rows} WHERE EXISTS (SELECT 1 FROM entries e WHERE e.tenant = r.tenant "
    "AND e.customer_id = r.account AND e.points > 0 AND e.order_key <> r.order_key "
    "AND e.at < r.at)"
)
FOREVER = 2**62


class Question(NamedTuple):
    tenant: str
    redemption_id: str
    account: str | None
    """Whose points; None: those of whoever redeemed, as far as the ledger knows."""
    first: bool = False
    """Whether it matters that this is the account's first."""


class Standing(NamedTuple):
    """What is known of a redemption. Points are None where the ledger has no account to give them to."""

    customer_id: str | None = None
    parent_id: str | None = None
    """Of the stack that it belongs to."""
    reversed: bool = False
    """It, or its stack."""
    points: int | None = None
    """What its order has brought the account, all in all; after a rollback what was taken back, below 0."""
    balance: int | None = None
    has_earlier: bool = False
    """The account had earned points before, by another order."""


async def standings(transaction: Transaction, questions: Sequence[Question]) -> list[Standing | None]:
    """In the order asked; None for a redemption that the ledger does not know."""
    facts = await _facts(transaction, questions)
    accounts = {
        place: account
        for place, fact in facts.items()
        if (account := questions[place].account or fact.customer_id) is not None
    }
    posted = await _posted(transaction, questions, facts, accounts)
    balances = await _balances(transaction, facts, accounts)
    firsts = {place: accounts[place] for place in accounts if questions[place].first}
    earlier = await _earlier(transaction, facts, firsts, posted)
    answers: list[Standing | None] = [None] * len(questions)
    for place, fact in facts.items():
        undone = bool(fact.reversed) or bool(fact.parent_reversed)
        row = posted.get(place)
        points = 0 if row is None else int(row.taken if undone else row.points)
        answers[place] = Standing(
            fact.customer_id,
            fact.parent_id,
            undone,
            points if place in accounts and fact.order_key is not None else None,
            balances.get(place, 0) if place in accounts else None,
            place in earlier,
        )
    return answers


Found = Mapping[int, Row]
"""Rows by the question's place."""


async def _facts(transaction: Transaction, questions: Sequence[Question]) -> Found:
    rows = [
        (place, tenant, one.redemption_id)
        for place, one in enumerate(questions)
        if (tenant := transaction.names.find(one.tenant)) is not None
    ]
    return await _found(transaction, ORDER_OF, {"redemption_id": "text"}, rows)


async def _posted(
    transaction: Transaction, questions: Sequence[Question], facts: Found, accounts: Mapping[int, str]
) -> Found:
    rows = []
    for place, account in accounts.items():
        if (order := facts[place].order_key) is not None:
            prefix = entry_key_prefix(questions[place].tenant, order)
            rows.append((place, facts[place].tenant, account, order, f"{prefix}:", f"{prefix};"))
    columns = {"account": "text", "order_key": "text", "after": "text", "before": "text"}
    return await _found(transaction, POSTED, columns, rows)


async def _balances(transaction: Transaction, facts: Found, accounts: Mapping[int, str]) -> dict[int, int]:
    rows = [(place, facts[place].tenant, account) for place, account in accounts.items()]
    found = await _found(transaction, BALANCES, {"account": "text"}, rows)
    return {place: row.points for place, row in found.items()}


async def _earlier(
    transaction: Transaction, facts: Found, accounts: Mapping[int, str], posted: Found
) -> Collection[int]:
    rows = [
        (
            place,
            facts[place].tenant,
            account,
            facts[place].order_key or "",
            posted[place].at if place in posted else FOREVER,
        )
        for place, account in accounts.items()
    ]
    return await _found(transaction, EARLIER, {"account": "text", "order_key": "text", "at": "bigint"}, rows)


async def _found(
    transaction: Transaction, sql: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
) -> Found:
    if not rows:
        return {}
    given = Rows({"place": "integer", "tenant": "smallint"} | dict(columns), rows)
    return {row.place: row for row in await transaction.run(sql, given)}
