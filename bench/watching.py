"""How far a consumer group has come, seen from outside, and so alike for every language and library."""

from typing import Protocol

import httpx
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from prometheus_client.parser import text_string_to_metric_families

STATE, MEMBERS = 2, 5
"""Places in a described group."""


class Progress(Protocol):
    every: float
    """Seconds between two looks: a look must cost those it looks at next to nothing."""

    async def done(self) -> int:
        """Events done so far."""


class CommittedOffsets:
    every = 0.05

    def __init__(self, admin: AIOKafkaAdminClient, group: str) -> None:
        self._admin = admin
        self._group = group

    async def done(self) -> int:
        offsets = await self._admin.list_consumer_group_offsets(self._group)
        return sum(max(0, place.offset) for place in offsets.values())

    async def members(self) -> int:
        """Those of a group that has settled; 0 while it has not."""
        try:
            (response,) = await self._admin.describe_consumer_groups([self._group])
        except GroupCoordinatorNotAvailableError:
            return 0  # the broker's first group ever: it has to make the topic of offsets first
        (group,) = response.groups
        return len(group[MEMBERS]) if group[STATE] == "Stable" else 0


class EffectsRun:
    """The effects of the log channel that a worker has run, by its own metrics."""

    every = 0.25

    def __init__(self, admin_port: int) -> None:
        self._url = f"http://127.0.0.1:{admin_port}/metrics"

    async def done(self) -> int:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                text = (await client.get(self._url, timeout=5)).text
        except httpx.HTTPError:
            return 0  # not up yet
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return int(
            sum(
                sample.value
                for sample in samples
                if sample.name == "redemptions_attempts_total"
                and sample.labels == {"handler": "log-channel", "result": "done"}
            )
        )
