"""A handler's terms: what it declares, what it leaves out, what a table says instead."""

from pathlib import Path

import msgspec
import pytest

from events.failures import Misconfigured
from handlers.tables import WrongPolicy
from handlers.terms import Retry, RetryTable, Terms, terms_of
from handlers.terms_file import load_terms, parse_terms


class Plain:
    concurrency = 3
    timeout = 2.0
    retry = Retry(attempts=5)


class Particular(Plain):
    rate = 2.5
    on_unknown = "give_up"
    after = "loyalty"


def test_what_a_handler_leaves_out_has_its_default() -> None:
    assert terms_of(Plain()) == Terms(3, 2.0, Retry(attempts=5), None, "retry", frozenset())


def test_what_a_handler_declares_holds_and_one_name_is_a_name() -> None:
    assert terms_of(Particular())[3:] == (2.5, "give_up", frozenset({"loyalty"}))


def test_a_table_changes_what_it_names_alone() -> None:
    table = msgspec.convert({"attempts": 3, "max": 60}, RetryTable)
    assert table.over(Retry(first=9.0, age=5.0)) == Retry(attempts=3, first=9.0, longest=60.0, age=5.0)


@pytest.mark.parametrize(
    "table",
    [{"attempts": 0}, {"first": 0}, {"factor": 0.5}, {"max": -1}, {"age": float("inf")}, {"tries": 3}],
)
def test_a_table_that_makes_no_sense_is_refused(table: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, RetryTable)


def test_a_policy_file_changes_what_it_names_alone() -> None:
    (table,) = parse_terms(
        "[warehouse]\nconcurrency = 50\nrate = 20\n[warehouse.retry]\nage = 86400\n"
    ).values()
    assert table.over(terms_of(Particular())) == Terms(
        50, 2.0, Retry(attempts=5, age=86400.0), 20.0, "give_up", frozenset({"loyalty"})
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[warehouse]\nconcurency = 5", "concurency"),
        ("[warehouse]\nconcurrency = 0", "concurrency"),
        ("[warehouse]\non_unknown = 'stop'", "on_unknown"),
        ("[warehouse.retry]\nattempts = 'many'", "attempts"),
        ("warehouse = 5", "warehouse"),
        ("[warehouse", "is no TOML"),
    ],
)
def test_each_fault_of_a_policy_file_is_named(text: str, told: str) -> None:
    with pytest.raises(WrongPolicy) as wrong:
        parse_terms(text)
    assert told in str(wrong.value.faults[0])


def test_a_start_is_refused_with_the_first_fault(tmp_path: Path) -> None:
    path = tmp_path / "delivery.toml"
    path.write_text("[warehouse]\nrate = 0\ntimeout = -1\n")
    with pytest.raises(Misconfigured, match=r"delivery\.toml.*warehouse.*\(and 1 more\)"):
        load_terms(path)
