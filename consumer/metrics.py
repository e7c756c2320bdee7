"""The worker's metrics. Labels hold handler names, reason codes, partitions: nothing an event supplied."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BATCH_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class WorkerMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("redemptions_records_total", "Records settled", ["meaning"], registry=registry)
        self.ignored = Counter(
            "redemptions_ignored_total", "Events of no interest, and test sends", ["type"], registry=registry
        )
        self.results = Counter(
            "redemptions_results_total",
            "What handlers made of events",
            ["handler", "result"],
            registry=registry,
        )
        self.letters = Counter(
            "redemptions_dead_letters_total", "Dead letters stored", ["handler", "reason"], registry=registry
        )
        self.drift = Counter(
            "redemptions_contract_drift_total",
            "Undocumented event types, top-level keys and words of closed lists",
            ["kind", "place", "seen"],
            registry=registry,
        )
        self.oddities = Counter(
            "redemptions_oddities_total",
            "What handlers found odd about events and settled by their own rules",
            ["handler", "what"],
            registry=registry,
        )
        self.attempts = Counter(
            "redemptions_attempts_total", "Tries at effects", ["handler", "result"], registry=registry
        )
        self.batch_seconds = Histogram(
            "redemptions_batch_seconds", "From fetched to committed", buckets=BATCH_SECONDS, registry=registry
        )
        self.lag = Gauge(
            "redemptions_lag_records", "Records in the log not settled yet", ["partition"], registry=registry
        )
        self.settled_at = Gauge(
            "redemptions_last_settled_timestamp_seconds", "When a batch was last settled", registry=registry
        )
        self.standing = Gauge(
            "redemptions_handler_standing",
            "Handlers that stand still: 1 paused by an operator, 2 halted by the guard, 0 resumed",
            ["handler"],
            registry=registry,
        )
        self.running = Gauge(
            "redemptions_attempts_running", "Tries running now", ["handler"], registry=registry
        )
        self.breakers = Gauge(
            "redemptions_breaker_open",
            "1 while a dependency is held to be away",
            ["dependency"],
            registry=registry,
        )
