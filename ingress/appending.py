"""Waiting for the log on behalf of requests: as many as the gate lets in, each for so long."""

import asyncio

import structlog
from starlette.exceptions import HTTPException

from broker.protocols import Headers, Producer, TooLarge
from events.failures import Unavailable
from events.runtime import Runtime
from ingress.answers import AT_ONCE, later, too_large
from ingress.gate import Gate
from ingress.metrics import IngressMetrics

log = structlog.get_logger(__name__)


class Appending:
    def __init__(
        self, producer: Producer, metrics: IngressMetrics, runtime: Runtime, gate: Gate, *, deadline: float
    ) -> None:
        """`deadline`: seconds from when a request is whole to when the log has confirmed it."""
        self._producer = producer
        self._metrics = metrics
        self._runtime = runtime
        self._deadline = deadline
        self._gate = gate
        self._log_answers = True

    async def append(
        self, topic: str, body: bytes, key: bytes | None, headers: Headers, since: float
    ) -> None:
        """Returns once the record is durable; else raises the answer to give. `since`: when the
        request was whole.

        After a 503 the record may have landed all the same: the sender repeats it, and dedup covers it.
        """
        if not self._gate.enter():
            raise later(AT_ONCE)
        begun = self._runtime.monotonic()
        try:
            async with asyncio.timeout(since + self._deadline - begun):
                await self._producer.append(topic, body, key=key, headers=headers)
        except TooLarge:
            raise too_large() from None
        except TimeoutError:
            raise self._unavailable("no answer in time") from None
        except Unavailable as failure:
            raise self._unavailable(failure.reason, failure.retry_after) from None
        finally:
            self._gate.leave()
            self._metrics.append_seconds.observe(self._runtime.monotonic() - begun)
        self._gate.confirmed(begun)
        if not self._log_answers:
            self._log_answers = True
            log.info("log_answers_again")

    def _unavailable(self, reason: str, retry_after: float | None = None) -> HTTPException:
        self._gate.failed()
        if self._log_answers:  # Once per outage, not once per request of it.
            self._log_answers = False
            log.warning("log_does_not_answer", reason=reason)
        return later("the event could not be stored", retry_after)
