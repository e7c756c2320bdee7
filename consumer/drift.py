"""Watches for what Voucherify has not documented: counts it, and keeps one example of each kind.

Every redemption event is checked by the decoder for other keys and for unknown words of the lists that matter
most. A close look costs as much again as the whole decoding, so a second and a batch have only so many: when
traffic is slow every event gets one, when all of it drifts at full speed the counts are a sample.
"""

from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from broker.protocols import Record
from consumer.item import Item, read_item
from consumer.metrics import WorkerMetrics
from events.decode import interpret
from events.documented import KnownBody
from events.drift import OTHER, Drift, drift_in, skeleton
from events.event import Ignored, RedemptionEvent
from events.reading import read_closely, read_whole
from events.runtime import Runtime
from storage.database import Transaction
from storage.drift import Example, keep_examples

log = structlog.get_logger(__name__)

ALWAYS = 20
"""Events that get a close look in any case, a second and at most at once."""
AT_MOST = 100
"""Close looks in a batch."""
MOST_KINDS = 100
"""Told apart by a process; a sender that invents more must not fill the memory or the metrics."""


class DriftWatch:
    def __init__(self, metrics: WorkerMetrics, runtime: Runtime) -> None:
        self._counter = metrics.drift
        self._clock = runtime.monotonic
        self._known: set[Drift] = set()
        self._kept: set[Drift] = set()
        """Kinds whose example is in the database."""
        self._examples: dict[Drift, Example] = {}
        """Of the other kinds."""
        self._looks = 0
        """Left to this batch."""
        self._sure, self._refilled = float(ALWAYS), self._clock()
        """Close looks left that events get in any case, and when some were last added."""
        self._found: Sequence[Drift] = ()

    def begin(self) -> None:
        """A batch."""
        self._looks, now = AT_MOST, self._clock()
        self._sure = min(ALWAYS, self._sure + ALWAYS * (now - self._refilled))
        self._refilled = now

    def read(self, records: Sequence[Record], group: str) -> list[Item]:
        """Records of the batch as items."""
        return [self._read(record, group) for record in records]

    async def store(self, transaction: Transaction, items: Sequence[Item]) -> None:
        """Keep an example of each kind that is new to us."""
        new = {drift for item in items for drift in item.drift} - self._kept
        if new:
            await keep_examples(transaction, {drift: self._examples[drift] for drift in new})

    def settled(self, items: Sequence[Item]) -> None:
        """Count, after the commit."""
        for item in items:
            for drift in item.drift:
                self._kept.add(drift)
                self._examples.pop(drift, None)
                self._counter.labels(*drift).inc()

    def _read(self, record: Record, group: str) -> Item:
        self._found = ()
        item = read_item(record, group, self._decode)
        if not self._found:
            return item
        self._remember(item)
        return replace(item, drift=tuple(self._found))

    def _decode(self, body: bytes, tenant: str) -> RedemptionEvent | Ignored:
        content = read_closely(body)
        event = interpret(content, tenant, body)
        if self._sure >= 1:
            self._sure -= 1
            self._look(body, event)
        elif type(content) is not KnownBody:
            self._look(body, event)
        return event

    def _look(self, body: bytes, event: RedemptionEvent | Ignored) -> None:
        if self._looks <= 0:
            return
        self._looks -= 1
        try:
            found = drift_in(read_whole(body), event)
        except Exception as error:
            # Such as a RecursionError, where one that looks less closely came through. The event is fine.
            log.warning("drift_not_seen", reason=type(error).__name__)
        else:
            self._found = list(dict.fromkeys(self._bounded(drift) for drift in found))

    def _remember(self, item: Item) -> None:
        new = [drift for drift in self._found if drift not in self._kept and drift not in self._examples]
        if new:
            topic, partition, offset, *_ = item.record
            structure = skeleton(read_whole(item.record.value))
            example = Example(item.tenant, topic, partition, offset, structure)
            self._examples.update(dict.fromkeys(new, example))

    def _bounded(self, drift: Drift) -> Drift:
        if drift not in self._known:
            if len(self._known) >= MOST_KINDS:
                return drift._replace(seen=OTHER)
            self._known.add(drift)
        return drift
