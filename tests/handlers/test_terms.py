"""A handler's terms: what it declares, what it leaves out, what a table says instead."""

import msgspec
import pytest

from handlers.terms import Retry, RetryTable, Terms, terms_of


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
