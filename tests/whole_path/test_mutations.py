"""Whatever becomes of the documented payloads: processed, skipped, or a dead letter that says why."""

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from handlers.loyalty.policy import STANDARD, Base, Beneficiary, Bonus, Multiplier, Policy, Version
from tests.events.payloads import body, project
from tests.whole_path.mutations import HAPPENINGS, Mutant, deliveries, each_change
from tests.whole_path.path import Play, play

CODES = set(
    re.findall(r"`([a-z_0-9]+)`", (Path(__file__).parents[2] / "docs" / "dead-letters.md").read_text())
)
BUGS = {"decoder_error", "handler_error"}
CURIOUS = Policy(
    (
        Version(
            version="curious",
            base=Base.ITEMS,
            beneficiary=Beneficiary.BOTH,
            gift_credits_count=True,
            multipliers=(Multiplier(times=2, campaign_types=("PROMOTION",)),),  # type: ignore[arg-type]
            bonuses=(Bonus(points=5, order_metadata={"channel": ("app",)}),),
        ),
    )
)
"""It asks for nearly everything that a policy may ask for."""
few = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.intake.FETCH_SECONDS", 0.02)
    monkeypatch.setattr("consumer.delivery.POLL_SECONDS", 0.02)
    monkeypatch.setattr("consumer.delivery.SETTLING_SECONDS", 0.0)


def played(mutants: list[Mutant], policy: Policy = STANDARD) -> Play:
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(play(Path(directory), [mutant.body for mutant in mutants], policy))


def check(mutants: list[Mutant], result: Play) -> None:
    """What holds whatever was delivered."""
    assert result.answers == [202] * len(mutants)
    assert len(result.outcomes) == len(mutants)
    bodies = {mutant.body: mutant.changes for mutant in mutants}
    for letter in result.letters:
        assert letter.body in bodies
        assert letter.reason in CODES - BUGS, (letter, bodies[letter.body])
        assert letter.error
    for outcome in result.outcomes:
        assert outcome.results or outcome.reason, "a delivery of which nobody says what became of it"
    assert result.findings == []


@few
@given(deliveries(harmless=False))
def test_a_mutated_delivery_is_processed_skipped_or_a_dead_letter_with_a_reason(
    mutants: list[Mutant],
) -> None:
    check(mutants, played(mutants))


@few
@given(deliveries(harmless=False))
def test_the_same_under_a_policy_that_asks_for_nearly_everything(mutants: list[Mutant]) -> None:
    check(mutants, played(mutants, CURIOUS))


@few
@given(deliveries(harmless=True))
def test_what_no_handler_needs_is_never_a_dead_letter(mutants: list[Mutant]) -> None:
    result = played(mutants)
    check(mutants, result)
    changes = {mutant.body: mutant.changes for mutant in mutants}
    assert [(letter.reason, letter.error, changes[letter.body]) for letter in result.letters] == []


def test_each_place_changed_alone_in_each_way_is_a_dead_letter_only_where_a_handler_needs_it() -> None:
    changed = list(each_change())
    assert len(changed) > 1_000
    mutants = [mutant for mutant, _ in changed]
    result = played(mutants)
    check(mutants, result)
    harmless = {mutant.body: mutant.changes for mutant, harmless in changed if harmless}
    wrong = [(letter.reason, harmless[letter.body]) for letter in result.letters if letter.body in harmless]
    assert wrong == []
    reasons = {letter.reason for letter in result.letters}
    assert reasons > {"unfit_amount", "unfit_customer_id", "unfit_order_id", "unfit_id", "no_redemption_id"}


def test_unmutated_deliveries_in_all_shapes_are_processed() -> None:
    bodies: list[Any] = [build() for build in HAPPENINGS.values()]
    bodies += [project(build(), type) for type, build in HAPPENINGS.items()]
    mutants = [Mutant(body(content), "", []) for content in bodies]
    result = played(mutants)
    check(mutants, result)
    assert result.letters == []
