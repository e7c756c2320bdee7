"""The payload as msgspec structs that name only the fields in use (shapes: EventCustomerRedemption).

Leaves are untyped on purpose: a value of an unexpected type that no handler needs must never fail an event,
so whoever reads a leaf checks it. Floats arrive as Decimal. Objects of the wrong type read as absent.
"""

from typing import Any

from msgspec import Struct

Leaf = Any
"""None, bool, int, str, Decimal, list or dict: whatever the sender put there."""


class Present(Struct, frozen=True, gc=False):
    """An object of which only its presence matters."""


class Customer(Struct, frozen=True, gc=False):
    id: Leaf = None


class Order(Struct, frozen=True, gc=False):
    """Amounts are minor units before checking: see handlers for the reading of them."""

    id: Leaf = None
    customer_id: Leaf = None
    status: Leaf = None
    amount: Leaf = None
    total_amount: Leaf = None
    total_discount_amount: Leaf = None


class Voucher(Struct, frozen=True, gc=False):
    type: Leaf = None


class Channel(Struct, frozen=True, gc=False):
    channel_type: Leaf = None


class Redemption(Struct, frozen=True, gc=False):
    """A redemption or its rollback. `redemption`: a success's stack parent, or what a rollback has undone."""

    id: Leaf = None
    customer_id: Leaf = None
    date: Leaf = None
    result: Leaf = None
    status: Leaf = None
    redemption: Leaf = None
    customer: Customer | None = None
    order: Order | None = None
    voucher: Voucher | None = None
    promotion_tier: Present | None = None
    reward: Present | None = None
    channel: Channel | None = None


class Data(Struct, frozen=True, gc=False):
    """`data` of an envelope, or the top level of a raw payload."""

    customer: Customer | None = None
    order: Order | None = None
    voucher: Voucher | None = None
    holder: Customer | None = None
    promotion_tier: Present | None = None
    redemption: Redemption | None = None
    redemption_rollback: Redemption | None = None


class EventInfo(Struct, frozen=True, gc=False):
    """`event` of an envelope; `type` is the only word on what happened that the sender cannot edit."""

    id: Leaf = None
    type: Leaf = None
    created_at: Leaf = None


class Source(Struct, frozen=True, gc=False):
    object: Leaf = None


class OldData(Data, frozen=True, gc=False):
    """`data` with the `object` of the retired v2018-08-01 webhook."""

    object: Leaf = None


class Body(Data, frozen=True, gc=False):
    """The whole body: an envelope's keys and, for raw payloads, those of Data."""

    event: EventInfo | None = None
    data: OldData | None = None
    source: Source | None = None
    type: Leaf = None
