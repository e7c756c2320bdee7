"""Words that would be SQL, or patterns, if they were not parameters."""

import pytest

from tests.end_to_end.processes import Site

QUESTIONS = [
    ("dead-letters", "list", "--customer"),
    ("dead-letters", "list", "--reason"),
    ("ledger", "entries", "--order"),
    ("audit", "list", "--who"),
    ("ledger", "balance", "cust_kept", "--tenant"),
]


@pytest.mark.parametrize("word", ["%' OR 1 = 1 OR '' = '\\", "cust%_'; DROP TABLE entries; --"])
def test_a_hostile_word_is_looked_for_and_not_found(filled: Site, word: str) -> None:
    before = filled.told("ledger", "totals")
    for question in QUESTIONS:
        found = filled.told(*question, word)
        assert found == [] or found["points"] == 0, question
    assert filled.told("effects", "show", "r_kept") != []
    assert filled.told("ledger", "totals") == before
