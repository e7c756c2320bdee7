"""The payload structs once more, for bodies that hold nothing undocumented: no other key at the top, and of
the lists that matter most only known words. So the decoder checks every event, at next to no cost.
"""

from msgspec import Raw

from events.contract import ChannelType, OrderStatus, Result, Status, VoucherType
from events.payload import Body, Channel, OldData, Order, Redemption, Voucher

UNREAD = Raw()
"""Keys that are known and not in use: anything may stand there."""


class KnownOrder(Order, frozen=True, gc=False):
    status: OrderStatus | None = None


class KnownVoucher(Voucher, frozen=True, gc=False):
    type: VoucherType | None = None


class KnownChannel(Channel, frozen=True, gc=False):
    channel_type: ChannelType | None = None


class KnownRedemption(Redemption, frozen=True, gc=False):
    result: Result | None = None
    status: Status | None = None
    order: KnownOrder | None = None
    voucher: KnownVoucher | None = None
    channel: KnownChannel | None = None


class KnownData(OldData, frozen=True, gc=False, forbid_unknown_fields=True):
    order: KnownOrder | None = None
    voucher: KnownVoucher | None = None
    redemption: KnownRedemption | None = None
    redemption_rollback: KnownRedemption | None = None
    campaign: Raw = UNREAD
    promotion_stack: Raw = UNREAD
    created_at: Raw = UNREAD


class KnownBody(Body, frozen=True, gc=False, forbid_unknown_fields=True):
    order: KnownOrder | None = None
    voucher: KnownVoucher | None = None
    redemption: KnownRedemption | None = None
    redemption_rollback: KnownRedemption | None = None
    campaign: Raw = UNREAD
    promotion_stack: Raw = UNREAD
    data: KnownData | None = None
    id: Raw = UNREAD
    project_id: Raw = UNREAD
    created_at: Raw = UNREAD
