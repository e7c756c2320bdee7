"""`ledger`: balances, entries, totals and the check of the books, by their documented names."""

from tests.cli.filled import KEPT, UNDONE
from tests.end_to_end.processes import Site

NAMES = {"key", "tenant", "customer_id", "order_key", "redemption_id", "kind", "points", "at"}


def test_a_balance(filled: Site) -> None:
    told = filled.told("ledger", "balance", "cust_kept")
    assert told == {"tenant": "default", "customer_id": "cust_kept", "points": 103}
    assert filled.ask("ledger", "balance", "cust_kept").out == "103\n"


def test_an_unknown_customer_or_tenant_has_0_and_that_is_no_error(filled: Site) -> None:
    assert filled.told("ledger", "balance", "nobody")["points"] == 0
    told = filled.told("ledger", "balance", "cust_kept", "--tenant", "another")
    assert told == {"tenant": "another", "customer_id": "cust_kept", "points": 0}


def test_entries_by_customer_and_by_order(filled: Site) -> None:
    entries = filled.told("ledger", "entries")
    assert all(entry.keys() == NAMES for entry in entries)
    assert sorted(entry["points"] for entry in entries) == [-103, 103, 103]
    assert len({entry["key"] for entry in entries}) == 3
    (kept,) = filled.told("ledger", "entries", "--customer", "cust_kept")
    assert (kept["redemption_id"], kept["tenant"]) == (KEPT, "default")
    assert len(filled.told("ledger", "entries", "--order", f"ord_{UNDONE}")) == 2
    assert len(filled.told("ledger", "entries", "--limit", "1")) == 1
    assert filled.told("ledger", "entries", "--customer", "nobody") == []
    assert filled.told("ledger", "entries", "--tenant", "another") == []


def test_totals_and_a_check_of_the_books(filled: Site) -> None:
    assert filled.told("ledger", "totals") == {"customers": 2, "entries": 3, "points": 103}
    assert filled.told("ledger", "verify") == []
    assert filled.ask("ledger", "verify").out == "the books agree\n"
