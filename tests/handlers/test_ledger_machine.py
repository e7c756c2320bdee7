"""Whatever happens in whatever order, the balances are those of a small model, on both databases."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from handlers.loyalty.adjustment import Adjustment, adjust
from handlers.loyalty.policy_file import parse_policy
from handlers.loyalty.restatement import restate
from tests.handlers.books import Books
from tests.handlers.conftest import opened
from tests.handlers.deliveries import a_delivery, a_rollback

T = TypeVar("T")
BONUS = "bonuses = [{ points = 7, campaign_ids = ['camp_1'] }]\n"
POLICY = parse_policy(
    f"[[versions]]\nversion = 'a'\n{BONUS}"
    f"[[versions]]\nversion = 'b'\npoints = 2\neffective_from = 2025-01-01\n{BONUS}"
)
TRUTHS: dict[str, dict[str, Any]] = {
    "r_p": {"order": "o_1", "total": 800, "discount": 200, "date": "2025-01-02", "customer": "anna"},
    "r_c1": {"order": "o_1", "total": 900, "discount": 100, "date": "2024-12-31", "campaign": "camp_1"},
    "r_c2": {"order": "o_1", "total": 800, "discount": 200, "date": "2025-01-02", "campaign": "camp_2"},
    "r_x": {"order": "o_1", "total": 700, "discount": 300, "date": "2025-02-01", "campaign": "camp_1"},
    "r_y": {"order": "o_2", "total": 5_000, "date": "2024-05-01", "customer": "bob", "campaign": "camp_1"},
}
MAY_MISS = ("total", "discount", "date", "campaign")
ids = st.sampled_from(sorted(TRUTHS))
missing = st.lists(st.sampled_from(MAY_MISS), unique=True)


def expected(known: dict[str, dict[str, Any]], undone: set[str], by_hand: dict[str, int]) -> dict[str, int]:
    balances = Counter({"anna": sum(by_hand.values())})
    orders: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for id, row in known.items():
        if id not in undone and not (id.startswith("r_c") and "r_p" in undone):
            orders.setdefault(row["order"], []).append((id, row))
    for rows in orders.values():
        rows.sort(key=lambda each: _rank(*each))
        decider = rows[0][1]
        rate = 2 if decider.get("date", "") >= "2025" else 1
        balances[decider.get("customer", "anna")] += decider.get("total", 0) // 100 * rate
        for _, row in rows:
            balances[row.get("customer", "anna")] += 7 if row.get("campaign") == "camp_1" else 0
    return {customer: points for customer, points in balances.items() if points}


def _rank(id: str, row: dict[str, Any]) -> tuple[Any, ...]:
    return (-row.get("discount", 0), id != "r_p", row.get("total", 10**9), id)


class LedgerMachine(RuleBasedStateMachine):
    """One ledger, told things again and again, in parts and in any order."""

    books: Books
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.tenant = self.books.another_tenant()
        self.known: dict[str, dict[str, Any]] = {}
        self.undone: set[str] = set()
        self.by_hand: dict[str, int] = {}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @rule(told=st.lists(st.tuples(ids, missing), min_size=1, max_size=4))
    def tell(self, told: list[tuple[str, list[str]]]) -> None:
        events = []
        for id, left_out in told:
            row = {name: value for name, value in TRUTHS[id].items() if name not in left_out}
            self.known[id] = self.known.get(id, {}) | row
            events.append(a_delivery(_payload(id, row), self.tenant))
        self.do(self.books.apply(*events))

    @rule(undone=st.lists(ids, min_size=1, max_size=2))
    def roll_back(self, undone: list[str]) -> None:
        self.undone |= set(undone)
        self.do(self.books.apply(*(a_rollback(id, self.tenant) for id in undone)))

    @rule(key=st.sampled_from(["k_1", "k_2"]))
    def adjust(self, key: str) -> None:
        self.by_hand[key] = -3
        adjustment = Adjustment(self.tenant, "anna", -3, "because", key)
        self.do(adjust(self.books.database, adjustment, "ops"))

    @invariant()
    def the_balances_are_the_models(self) -> None:
        balances = self.do(self.books.balances_of(self.tenant))
        assert balances == expected(self.known, self.undone, self.by_hand)

    def teardown(self) -> None:
        assert self.do(self.books.findings()) == []


def _payload(id: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "redemption": {"id": id, "date": row.get("date"), "redemption": "r_p" if "_c" in id else None},
        "customer": {"id": row.get("customer", "anna")},
        "voucher": None if id == "r_p" else {"type": "DISCOUNT_VOUCHER"},
        "campaign": {"id": row["campaign"]} if "campaign" in row else None,
        "order": {
            "id": row["order"],
            "total_amount": row.get("total"),
            "total_discount_amount": row.get("discount"),
        },
    }


def play(url: str) -> None:
    with asyncio.Runner() as runner:
        books = Books(runner.run(opened(url)))
        books.policy = POLICY
        machine = type("Machine", (LedgerMachine,), {"books": books, "runner": runner})
        try:
            run_state_machine_as_test(
                machine, settings=settings(max_examples=15, stateful_step_count=10, deadline=None)
            )
            # What the policy entitles to is what stands: there is nothing to restate.
            assert runner.run(_differences(books)) == []
        finally:
            runner.run(books.database.close())


async def _differences(books: Books) -> list[Any]:
    return [each async for each in restate(books.database, POLICY, dry_run=True)]


def test_the_ledger_follows_the_model_on_sqlite(tmp_path: Path) -> None:
    play(f"sqlite:///{tmp_path / 'store.db'}")


@pytest.mark.postgres
def test_the_ledger_follows_the_model_on_postgresql(postgres_database: str) -> None:
    play(postgres_database)
