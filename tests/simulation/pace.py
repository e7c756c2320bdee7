"""The product's times, shorter, in the proportions they have: a schedule sees more of their ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

TIMES = {
    "consumer.delivery.LEASE_SECONDS": 6.0,
    "consumer.delivery.RENEW_SECONDS": 2.0,
    "consumer.delivery.POLL_SECONDS": 2.0,
    "consumer.delivery.TAKE_OVER_SECONDS": 2.0,
    "consumer.delivery.SETTLING_SECONDS": 2.0,
    "consumer.exchange.PREDECESSOR_SECONDS": 1.0,
    "consumer.claims.PROBE_SECONDS": 1.0,
    "consumer.breaker.SILENCE_MS": 6_000,
    "consumer.breaker.PROBE_MS": 1_000,
    "consumer.judging.ANSWER_NOTED_MS": 1_000,
    "consumer.jobs.LEASE_SECONDS": 6.0,
    "consumer.jobs.POLL_SECONDS": 2.0,
    "consumer.job_steps.LEASE_SECONDS": 6.0,
    "consumer.waiting.LONGEST_SECONDS": 1.0,
    "consumer.waiting.MISCONFIGURED_SECONDS": 2.0,
    "consumer.intake.FETCH_SECONDS": 1.0,
    "consumer.worker.HOLD_SECONDS": 1.0,
    "consumer.standstill.LOOK_SECONDS": 2.0,
    "consumer.watch.WATCH_SECONDS": 4.0,
}


@contextmanager
def quick() -> Iterator[None]:
    patches = [patch(name, seconds) for name, seconds in TIMES.items()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()
