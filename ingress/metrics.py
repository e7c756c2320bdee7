"""What the door counts. Labels come from our own lists or settings, or are bounded in form and number."""

import re
from collections.abc import Mapping, Sized
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_PLAIN_TYPE = re.compile(r"[a-z]+(?:[._][a-z]+){0,7}")
_LONGEST_TYPE = 64
_MOST_TYPES = 100


class TypeLabels:
    """Event types as label values. The sender writes them, so only plain words, and only so many of them."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def label(self, event_type: str) -> str:
        if event_type in self._seen:
            return event_type
        plain = len(event_type) <= _LONGEST_TYPE and _PLAIN_TYPE.fullmatch(event_type) is not None
        if not plain or len(self._seen) >= _MOST_TYPES:
            return "other"
        self._seen.add(event_type)
        return event_type


class IngressMetrics:
    """Registered once in the `registry` given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.types = TypeLabels()
        self.requests = Counter(
            "redemptions_ingress_requests",
            "Requests answered, by status; 499: the connection ended before one",
            ["status"],
            registry=registry,
        )
        self.events = Counter(
            "redemptions_ingress_events",
            "Authentic bodies accepted: raw ones by kind, enveloped ones by event type, test-send, malformed",
            ["type"],
            registry=registry,
        )
        self.signatures = Counter(
            "redemptions_ingress_signature_matches",
            "Signatures that matched, by tenant and place of the secret, since the secrets last changed",
            ["tenant", "slot"],
            registry=registry,
        )
        self.last_match = Gauge(
            "redemptions_ingress_signature_last_match_timestamp_seconds",
            "When a secret last matched, seconds since 1970; 0: not since the secrets last changed",
            ["tenant", "slot"],
            registry=registry,
        )
        self.secrets_refused = Gauge(
            "redemptions_ingress_secrets_refused",
            "1: the file of the webhook secrets holds what cannot be used, and those before it stay in force",
            registry=registry,
        )
        self.last_accepted = Gauge(
            "redemptions_ingress_last_accepted_timestamp_seconds",
            "When the log last took an event, seconds since 1970; 0: not since the start",
            registry=registry,
        )
        self.waiting = Gauge(
            "redemptions_ingress_waiting",
            "Requests that wait for the log to confirm",
            registry=registry,
        )
        self.room = Gauge(
            "redemptions_ingress_room",
            "Requests that may wait for the log now: fewer while it is slow, few while it does not answer",
            registry=registry,
        )
        self.append_seconds = Histogram(
            "redemptions_ingress_append_seconds",
            "Seconds until the log confirmed, gave up, or the time was over",
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4),
        )
        self.body_bytes = Histogram(
            "redemptions_ingress_body_bytes",
            "Size of authentic bodies",
            registry=registry,
            buckets=(1024, 4096, 16384, 65536, 262144, 1048576, 2097152),
        )
        # Kept, as finding a labelled child takes as long as counting.
        self._answers = cache(self.requests.labels)
        self._accepted = cache(self.events.labels)
        self._matches = cache(self.signatures.labels)
        self._last_matches = cache(self.last_match.labels)

    def follow(self, secrets: Mapping[str, Sized]) -> None:
        """Count by these secrets from now on, from zero: a place may be another secret's by now."""
        self._matches.cache_clear()
        self._last_matches.cache_clear()
        for metric in (self.signatures, self.last_match):
            metric.clear()
            for tenant, slots in secrets.items():
                for slot in range(len(slots)):
                    metric.labels(tenant, slot)

    def count_match(self, tenant: str, slot: int, now: float) -> None:
        self._matches(tenant, slot).inc()
        self._last_matches(tenant, slot).set(now)

    def count_answer(self, status: int) -> None:
        """Those that the server gives without asking the app included."""
        self._answers(status).inc()

    def count_accepted(self, event_type: str, now: float) -> None:
        self._accepted(self.types.label(event_type)).inc()
        self.last_accepted.set(now)
