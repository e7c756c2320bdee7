"""The simulation finds the bugs it should: the product is broken on purpose, and some schedule notices."""

from collections.abc import Callable
from random import Random

import pytest

from tests.simulation.campaign import LOGGED, campaign
from tests.simulation.mutations import MUTATIONS
from tests.simulation.weather import (
    Weather,
    antiquated,
    estranged,
    governed,
    restless,
    some_weather,
    stammering,
    unfortunate,
)

MOST_SEEDS = 200
RARE = {
    # Two workers have to believe in the same lease.
    "the_number_of_a_lease_is_ignored": estranged,
    "leases_are_not_renewed": estranged,
    # A backup has to be restored at the right moment.
    "the_position_is_not_read_at_assignment": antiquated,
    "an_older_database_is_not_noticed": antiquated,
    # A batch has to outlive its assignment.
    "positions_may_move_back": restless,
    # A try has to fail while a batch waits, and the worker to die right behind the next one.
    "a_batch_takes_along_what_comes_behind_the_next": stammering,
    # An operator has to be at work.
    "a_paused_handler_goes_on": governed,
    "records_that_are_needed_are_pruned": governed,
    # A commit has to fail.
    "a_failed_commit_is_taken_for_done": restless,
    # A batch has to hold good events and a bad one.
    "one_bad_event_takes_its_batch_along": unfortunate,
    "what_a_handler_did_before_it_raised_stays": unfortunate,
}
"""Mutations that seldom show: looked for in a weather where what they need is common."""


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_product_is_caught(mutation: str) -> None:
    weather = RARE.get(mutation, some_weather)
    ((_, caught),) = campaign(range(MOST_SEEDS), mutation, enough=1, weather=weather).failed
    # A promise was broken; code that stumbles over the mutation itself shows nothing.
    assert not caught.startswith(LOGGED)


@pytest.mark.parametrize("weather", [antiquated, estranged, governed, stammering, unfortunate])
def test_the_product_itself_passes_where_its_mutations_are_caught(
    weather: Callable[[Random], Weather],
) -> None:
    assert campaign(range(15), weather=weather).failed == ()


def test_a_mutation_ends_with_its_schedules() -> None:
    assert campaign(range(5), "duplicates_are_not_noticed", enough=1).failed
    assert campaign(range(5)).failed == ()
