"""One record as the worker sees it: decoded, or the reason why it is not, and whether it is a replay."""

import re
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import structlog
from msgspec import Struct

from broker.protocols import Record
from consumer.letter_record import original_headers
from events.decode import decode
from events.drift import Drift
from events.event import Ignored, RedemptionEvent
from events.failures import Malformed
from storage.payloads import Payload

log = structlog.get_logger(__name__)

DEFAULT_TENANT = "default"
TENANT = re.compile(r"[a-z0-9-]{1,63}")
GENERATION = re.compile(r"[1-9][0-9]{0,8}")
LONGEST_HANDLER = 100
REPLAY_GROUP = "redemptions-replay-group"
REPLAY_LETTER = "redemptions-replay-letter"
REPLAY_GENERATION = "redemptions-replay-generation"
REPLAY_HANDLER = "redemptions-replay-handler"


Decode = Callable[[bytes, str], RedemptionEvent | Ignored]
"""From a body and its tenant to its meaning; raises Malformed."""


class Replay(NamedTuple):
    """An operator asked for this record again."""

    letter: str
    generation: int
    handler: str | None
    """Only this handler runs; None: all of them (the letter was Malformed)."""


class ForOthers(NamedTuple):
    """A replay that another consumer group asked for: passed over."""

    group: str


class Item(Struct, frozen=True, gc=False):
    """A record and what it means. A struct: as a named tuple it would take twice as long to make."""

    record: Record
    tenant: str
    meaning: RedemptionEvent | Ignored | Malformed | ForOthers
    replay: Replay | None
    drift: tuple[Drift, ...] = ()
    """What in it is undocumented, as far as somebody looked."""
    only: frozenset[str] | None = None
    """No other handlers than these may learn of it (consumer.silence); None: all may."""

    def addresses(self, handler: str) -> bool:
        """Whether this handler is meant: a replay is for the one that failed."""
        if self.only is not None and handler not in self.only:
            return False
        return self.replay is None or self.replay.handler in (None, handler)

    @property
    def event(self) -> RedemptionEvent | None:
        return self.meaning if isinstance(self.meaning, RedemptionEvent) else None


def payload_of(record: Record) -> Payload:
    """What effects need. Not that it was a replay: another handler's effects may share it."""
    topic, partition, offset, timestamp, key, value, headers = record
    return Payload(topic, partition, offset, timestamp, key, value, tuple(original_headers(headers)))


def read_item(record: Record, group: str, decode: Decode = decode) -> Item:
    """Never raises, whatever the record holds: what is wrong with it is its meaning."""
    headers = dict(record.headers)  # of several of one name the last counts
    tenant = _text(headers, "tenant") or DEFAULT_TENANT
    fit_tenant = tenant if _is_fit(tenant) else DEFAULT_TENANT
    replay = asked_by = None
    try:
        if REPLAY_LETTER in headers:
            replay, asked_by = _replay(headers)
        if tenant != fit_tenant:
            raise Malformed("unfit_tenant", "the tenant header is not a tenant's name")
        if asked_by not in (None, group):
            return Item(record, tenant, ForOthers(asked_by), replay)
        return Item(record, tenant, decode(record.value, tenant), replay)
    except Malformed as malformed:
        return Item(record, fit_tenant, malformed, replay)
    except Exception as error:
        # A fault of the decoder's. Raised, it would stop the partition for one record's sake.
        log.exception("decoder_error", partition=record.partition, offset=record.offset)
        return Item(record, fit_tenant, Malformed("decoder_error", type(error).__name__), replay)


@lru_cache(maxsize=1024)
def _is_fit(tenant: str) -> bool:
    return TENANT.fullmatch(tenant) is not None


def _replay(headers: Mapping[str, bytes]) -> tuple[Replay, str | None]:
    letter = _text(headers, REPLAY_LETTER) or ""
    generation = _text(headers, REPLAY_GENERATION) or ""
    handler = _text(headers, REPLAY_HANDLER)
    fit = handler is None or (handler.isprintable() and len(handler) <= LONGEST_HANDLER)
    if not fit or not _is_uuid(letter) or not GENERATION.fullmatch(generation):
        raise Malformed("unfit_replay", "the replay headers are not whole")
    return Replay(letter, int(generation), handler), _text(headers, REPLAY_GROUP)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _text(headers: Mapping[str, bytes], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("utf-8", "replace")
