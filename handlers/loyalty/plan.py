"""What a batch tells the ledger, and what it comes to as far as that can be said without the database: to be
computed while that one is busy with the batch before."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from events.event import RedemptionEvent
from events.failures import Refused
from handlers.loyalty.fact_store import Told, with_parents
from handlers.loyalty.facts import Facts, Key, merge
from handlers.loyalty.policy import Policy
from handlers.loyalty.reading import read
from handlers.loyalty.settlement import Foreseen, foresee
from storage.names import Names

AT_A_STRETCH = 50
"""Events read without letting go of the loop: the database may have answered meanwhile."""


class Plan(NamedTuple):
    told: Told
    refused: dict[int, Refused]
    """The events that cannot be used, by index."""
    foreseen: Foreseen


async def plan_of(events: Sequence[RedemptionEvent], names: Names, policy: Policy) -> Plan:
    """The names must know the events' tenants."""
    told: dict[Key, Facts] = {}
    refused: dict[int, Refused] = {}
    for index, event in enumerate(events):
        if index % AT_A_STRETCH == 0:
            await asyncio.sleep(0)
        try:
            facts = read(event, policy)
        except Refused as refusal:
            refused[index] = refusal
            continue
        key = names.id(event.tenant), event.redemption_id
        told[key] = merge(told[key], facts) if key in told else facts
    all_told = with_parents(told)
    return Plan(all_told, refused, await foresee(all_told.facts, names, policy))
