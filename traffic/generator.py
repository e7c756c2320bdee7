"""A whole load from one seed: stories and oddities, some sent twice, in an order of no meaning."""

from collections import Counter
from collections.abc import Collection
from random import Random
from typing import NamedTuple

from traffic.oddities import Oddities
from traffic.stories import Stories
from traffic.telling import Delivery, Story

ODD = 0.1
"""The share of deliveries that are odd."""
AGAIN = 0.1
"""The share of deliveries that are sent a second time, byte for byte."""
APART = 200.0
"""How many deliveries lie between two of one story, or between a delivery and its double; on average half."""


class Expected(NamedTuple):
    """What a load must come to once it is processed."""

    balances: dict[str, int]
    """Points by customer; those with none are left out."""
    uncertain: tuple[str, ...]
    """Customers of whom something was not accepted: they have no balance here."""
    dead_letters: dict[str, int]
    """By reason code. An accepted delivery whose first try got no answer may have two."""


class Traffic(NamedTuple):
    deliveries: tuple[Delivery, ...]
    stories: tuple[Story, ...]

    def expected(self, refused: Collection[int] = ()) -> Expected:
        """What this comes to. `refused`: places of deliveries that were not accepted."""
        without = set(refused)
        incomplete = {self.deliveries[place].story for place in without}
        uncertain = {self.stories[story].customer for story in incomplete} - {""}
        balances = Counter[str]()
        for story in self.stories:
            balances[story.customer] += story.points
        accepted = [one for place, one in enumerate(self.deliveries) if place not in without]
        return Expected(
            balances={
                name: points for name, points in sorted(balances.items()) if points and name not in uncertain
            },
            uncertain=tuple(sorted(uncertain)),
            dead_letters=dict(sorted(Counter(filter(None, map(reason_of, accepted))).items())),
        )


def reason_of(delivery: Delivery) -> str | None:
    """Of the dead letter that it leaves."""
    return delivery.malformed or delivery.refused


def traffic(seed: int, events: int) -> Traffic:
    """About `events` deliveries, a few more where the last story needs them. The same for the same seed."""
    chance, told, oddities = Random(f"traffic-{seed}"), Stories(seed), Oddities(seed)
    stories: list[Story] = []
    deliveries: list[tuple[float, Delivery]] = []
    while len(deliveries) < events:
        if chance.random() < ODD:
            odd = oddities.next(len(stories))
            story = Story((odd,), "")
        else:
            story = told.next(len(stories))
        stories.append(story)
        begin = float(len(deliveries))
        for delivery in story.deliveries:
            times = 2 if chance.random() < AGAIN else 1
            deliveries += [(begin + chance.random() * APART, delivery) for _ in range(times)]
    deliveries.sort(key=lambda placed: placed[0])
    return Traffic(tuple(delivery for _, delivery in deliveries), tuple(stories))
