"""One structured line per event, after its commit: what `redemptions run` shows in the terminal."""

from collections.abc import Sequence

import structlog

from events.outcome import Outcome

log = structlog.get_logger("redemptions")


class Log:
    """An observer: stores nothing, so a crash may lose a line; no line comes twice for one commit."""

    name = "log"

    def settled(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.kind is None:
                log.info("event_set_aside", tenant=outcome.tenant, reason=outcome.reason)
                continue
            results = {handler.replace("-", "_"): result for handler, result in outcome.results.items()}
            log.info(
                "event_settled",
                kind=outcome.kind.value,
                redemption_id=outcome.redemption_id,
                customer_id=outcome.customer_id,
                tenant=outcome.tenant,
                **results,
                posted=", ".join(outcome.notes) or "nothing new",
            )
