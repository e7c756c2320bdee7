"""A policy file is refused with a line for each fault; what is packaged is what the code falls back to."""

from pathlib import Path

import pytest

from handlers.loyalty.policy import STANDARD
from handlers.loyalty.policy_file import parse_policy, read_policy
from handlers.loyalty.policy_history import changed_since
from handlers.tables import WrongPolicy

PACKAGED = Path(__file__).parents[2] / "config" / "loyalty.toml"
FIRST = '[[versions]]\nversion = "a"\n'
SECOND = FIRST + '[[versions]]\nversion = "b"\neffective_from = 2025-01-01\n'


def test_the_packaged_policy_is_the_standard_one() -> None:
    assert read_policy(PACKAGED).document == STANDARD.document


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(WrongPolicy, match="cannot be read"):
        read_policy(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["versions: there must be at least one [[versions]]"]),
        ("versions = 3", ["versions: there must be at least one [[versions]]"]),
        ("versions = [3]", ["versions[1]: must be a table"]),
        ("[[versions]]", ["versions[1].version: is missing"]),
        (
            FIRST + 'poitns = 1\nrounding = "up"\nevery = 0',
            [
                "versions[1].poitns: is unknown; did you mean points?",
                "versions[1].every: Expected `int` >= 1",
                "versions[1].rounding: Invalid enum value 'up'",
            ],
        ),
        (FIRST + "every = 1.5", ["versions[1].every: Expected `int`, got `decimal`"]),
        (FIRST + FIRST, ["versions[2].version: a is there twice", "versions[2].effective_from: is missing"]),
        (FIRST + 'base = "order_metadata"', ["versions[1].metadata_key: is missing"]),
        (FIRST + 'metadata_key = "x"', ["versions[1].metadata_key: base total_amount does not use it"]),
        (FIRST + 'items = { sku_ids = ["x"] }', ["versions[1].items: base total_amount does not use it"]),
        (FIRST + "multipliers = [{ times = nan }]", ["versions[1].multipliers[1].times: must lie"]),
        (FIRST + "multipliers = [{ times = 1.0000000001 }]", ["versions[1].multipliers[1].times: has more"]),
        (FIRST + "multipliers = { times = 2 }", ["versions[1].multipliers: must be a list of tables"]),
        (FIRST + "bonuses = [{ points = 0 }]", ["versions[1].bonuses[1].points: Expected `int` >= 1"]),
        (FIRST + 'exclusions = [{ name = "x" }]', ["versions[1].exclusions[1]: has no condition"]),
        (
            FIRST + "bonuses = [{ points = 1, from = 2025-01-01, until = 2025-01-01 }]",
            ["versions[1].bonuses[1].until: must be later than from"],
        ),
        (FIRST + "effective_from = 2025-01-01T00:00:00", ["versions[1].effective_from: Expected `datetime`"]),
        (
            SECOND + '[[versions]]\nversion = "c"\neffective_from = 2024-01-01',
            ["versions[3].effective_from: must be later"],
        ),
    ],
)
def test_each_fault_has_a_line_that_names_its_place(text: str, faults: list[str]) -> None:
    with pytest.raises(WrongPolicy) as wrong:
        parse_policy(text)
    assert len(wrong.value.faults) == len(faults)
    for told, expected in zip(wrong.value.faults, faults, strict=True):
        assert told.startswith(expected)


@pytest.mark.parametrize(
    ("new", "since"),
    [
        (SECOND, 1735689600000),
        (FIRST.replace('"a"', '"renamed"'), None),
        (FIRST + "points = 2", 0),
        (FIRST + "effective_from = 2024-01-01", 0),
        (SECOND.replace("2025", "2026") + "points = 3", 1767225600000),
    ],
)
def test_a_change_is_dated_by_the_first_redemption_that_it_touches(new: str, since: int | None) -> None:
    old, changed = parse_policy(FIRST), parse_policy(new)
    if since == 1735689600000:  # a second version that says the same is no change
        assert changed_since(old, changed) is None
        changed = parse_policy(new + "points = 2")
    assert changed_since(old, changed) == since
    assert changed_since(changed, old) == since
