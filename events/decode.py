"""One function from bytes to meaning: a RedemptionEvent, something to leave alone, or Malformed and why."""

import re

from events.delivery import Delivery, unwrap
from events.event import Ignored, Kind, RedemptionEvent
from events.failures import Malformed
from events.ids import is_fit, original_ids
from events.kinds import HAPPENINGS, Happening, happening_of
from events.payload import Body, Data, Leaf
from events.reading import read

LONGEST_LABEL = 100
TEST_SEND = Ignored("test-send")

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def decode(body: bytes, tenant: str) -> RedemptionEvent | Ignored:
    """What a delivered body means to `tenant`. Raises Malformed, and nothing else whatever the bytes."""
    return interpret(read(body), tenant, body)


def interpret(content: Body, tenant: str, body: bytes = b"") -> RedemptionEvent | Ignored:
    """The same for a body that has been read. Raises Malformed: unsupported_shape, rollback_under_success,
    type_contradicts_result, no_redemption_id, unfit_id, different_originals."""
    delivery = unwrap(content)
    if delivery.event_type is not None and delivery.event_type not in HAPPENINGS:
        return Ignored(_UNPRINTABLE.sub("?", delivery.event_type[:LONGEST_LABEL]))
    if _is_test_send(delivery):
        return TEST_SEND
    data = delivery.data
    happening = happening_of(delivery.event_type, data)
    rollback_id = None if data.redemption_rollback is None else data.redemption_rollback.id
    # By position: by name msgspec's structs take three times as long to make.
    return RedemptionEvent(
        tenant,
        happening.kind,
        delivery.shape,
        _redemption_id(happening, data),
        rollback_id if is_fit(rollback_id) else None,
        data,
        body,
    )


def _is_test_send(delivery: Delivery) -> bool:
    redemption = delivery.data.redemption
    return _is_zero(delivery.event_id) or (redemption is not None and _is_zero(redemption.id))


def _is_zero(id: Leaf) -> bool:
    """Whether nothing but zeros follows the id's prefix, as in `r_000000000000000000`."""
    if not isinstance(id, str) or id[-1:] not in ("0", "-"):
        return False
    digits = id.rpartition("_")[2].replace("-", "")
    return digits != "" and not digits.strip("0")


def _redemption_id(happening: Happening, data: Data) -> str:
    chosen = _original_id(data) if happening.of_rollback else data.redemption and data.redemption.id
    if chosen is None:
        raise Malformed("no_redemption_id", "the payload names no redemption")
    if not is_fit(chosen):
        raise Malformed("unfit_id", "the redemption id is not 1 to 255 bytes without control characters")
    if happening.kind is not Kind.FAILED and chosen.startswith(("rf_", "rr_", "rrf_")):
        # Taken as it is, a rollback's own id would undo nothing, and nobody would notice.
        raise Malformed("type_contradicts_result", f"no redemption that {happening.kind} has such an id")
    return chosen


def _original_id(data: Data) -> Leaf:
    named = [id for id in original_ids(data) if id is not None]
    if is_fit(first := next(iter(named), None)) and any(id != first for id in named):
        raise Malformed("different_originals", "redemption_rollback.redemption and redemption.id differ")
    return first
