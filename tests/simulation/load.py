"""What a schedule's sender delivers: stories out of one pool, some of it twice, in an order of no meaning."""

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any, NamedTuple

from traffic.generator import traffic
from traffic.telling import Delivery

POOL_SEED = 7
POOL_DELIVERIES = 600
LONGEST_BODY = 20_000
"""Longer ones only cost time here."""
AGAIN = 0.2


class Told(NamedTuple):
    """A delivery in the words of the oracle."""

    delivery: Delivery

    @property
    def body(self) -> bytes:
        return self.delivery.body

    @property
    def meaning(self) -> Mapping[str, Any] | None:
        return self.delivery.telling and self.delivery.telling._asdict()

    @property
    def kind(self) -> str:
        return self.delivery.telling.kind if self.delivery.telling else ""

    @property
    def malformed(self) -> str | None:
        return self.delivery.malformed

    @property
    def refused(self) -> str | None:
        return self.delivery.refused


@cache
def pool() -> tuple[tuple[Told, ...], ...]:
    return tuple(
        tuple(Told(delivery) for delivery in story.deliveries)
        for story in traffic(POOL_SEED, POOL_DELIVERIES).stories
        if story.deliveries and all(len(delivery.body) < LONGEST_BODY for delivery in story.deliveries)
    )


def load(chance: Random) -> list[Told]:
    """The deliveries of a few stories."""
    told = [each for story in chance.sample(pool(), chance.randint(1, 4)) for each in story]
    told += [each for each in told if chance.random() < AGAIN]
    chance.shuffle(told)
    return told
