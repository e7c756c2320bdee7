"""Tells what became of each batch, after its commit: one log line, metrics, and the observers."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

import structlog

from consumer.batch import Batch
from consumer.item import ForOthers, Item
from consumer.metrics import WorkerMetrics
from events.drift import plain_type
from events.event import Ignored, RedemptionEvent
from events.failures import Malformed
from events.ids import customer_ids, first_fit
from events.outcome import Outcome
from events.runtime import Runtime
from handlers.protocol import Handlers

log = structlog.get_logger(__name__)

MOST_TYPES = 100
"""Event types counted by name; a sender that invents more must not fill the memory."""


class Reporter:
    def __init__(self, handlers: Handlers, metrics: WorkerMetrics, runtime: Runtime) -> None:
        self._observers = handlers.observers
        self._metrics = metrics
        self._runtime = runtime
        self._types: set[str] = set()

    def begin(self) -> float:
        return self._runtime.monotonic()

    def settled(self, items: Sequence[Item], batch: Batch, began: float) -> None:
        seconds = self._runtime.monotonic() - began
        meanings = Counter(meaning_of(item) for item in items)
        results: Counter[tuple[str, str]] = Counter()
        for (name, text), count in Counter(pair for told in batch.results for pair in told.items()).items():
            results[name, word(text)] += count
        log.info(
            "batch_settled",
            records=len(items),
            seconds=round(seconds, 4),
            **meanings,
            results={f"{name} {result}": count for (name, result), count in sorted(results.items())},
        )
        self._metrics.batch_seconds.observe(seconds)
        self._metrics.settled_at.set(self._runtime.now())
        for meaning, count in meanings.items():
            self._metrics.records.labels(meaning).inc(count)
        for item in items:
            if isinstance(item.meaning, Ignored):
                self._metrics.ignored.labels(self._type_label(plain_type(item.meaning.type))).inc()
        for (name, result), count in results.items():
            self._metrics.results.labels(name, result).inc(count)
        for oddity, count in Counter(batch.oddities).items():
            self._metrics.oddities.labels(*oddity).inc(count)
        for letter in batch.letters:
            self._metrics.letters.labels(letter.handler or "", letter.reason).inc()
            log.warning(
                "dead_letter",
                id=letter.id,
                handler=letter.handler,
                reason=letter.reason,
                error=letter.error,
                partition=letter.partition,
                offset=letter.offset,
            )
        if self._observers:
            self._tell_observers(items, batch)

    def _tell_observers(self, items: Sequence[Item], batch: Batch) -> None:
        notes: dict[tuple[str, str], list[str]] = defaultdict(list)
        for note in chain.from_iterable(told() for told in batch.notes):
            notes[note.tenant, note.redemption_id].append(note.text)
        outcomes = [outcome_of(item, told, notes) for item, told in zip(items, batch.results, strict=True)]
        for observer in self._observers:
            try:
                observer.settled(outcomes)
            except Exception:
                # All is stored: what watches the work must not be able to end it.
                log.exception("observer_failed", observer=type(observer).__name__)

    def _type_label(self, type_: str) -> str:
        if len(self._types) < MOST_TYPES:
            self._types.add(type_)
        return type_ if type_ in self._types else "other"


def meaning_of(item: Item) -> str:
    match item.meaning:
        case RedemptionEvent(kind=kind):
            return kind.value
        case Malformed():
            return "malformed"
        case Ignored():
            return "ignored"
        case ForOthers():
            return "for_others"


def word(result: str) -> str:
    """`dead letter: unfit_amount` counts as `dead letter`: the reason has a metric of its own."""
    return result.partition(":")[0]


def outcome_of(item: Item, told: dict[str, str], notes: Mapping[tuple[str, str], Sequence[str]]) -> Outcome:
    meaning, event = item.meaning, item.event
    if event is None:
        reason = (
            meaning.reason
            if isinstance(meaning, Malformed)
            else getattr(meaning, "type", "for another group")
        )
        return Outcome(
            tenant=item.tenant, kind=None, redemption_id=None, customer_id=None, results=told, reason=reason
        )
    return Outcome(
        tenant=event.tenant,
        kind=event.kind,
        redemption_id=event.redemption_id,
        customer_id=first_fit(customer_ids(event.data)),
        results=told,
        notes=tuple(notes.get((event.tenant, event.redemption_id), ())),
    )
