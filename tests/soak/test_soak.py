"""The short form of `make soak`: what must hold on any machine, however busy."""

import pytest

from tests.end_to_end.processes import Site
from tests.services.kafka import Kafka
from tests.soak.run import Door, Plan, soak


@pytest.mark.kafka
@pytest.mark.timeout(240)
async def test_a_door_whose_broker_dies_twice_answers_202_or_503_and_loses_nothing(
    site: Site, end_to_end_kafka: Kafka
) -> None:
    door = Door(site, end_to_end_kafka)
    plan = Plan(seconds=9.0, rate=80.0, crowd=600, crowd_seconds=4.5, judged=False)
    result = await soak(door, plan)
    assert result.wrong == [], (result, door.process.err)
    assert result.figures["sent"] == 720
    assert door.process.stop() == 0
