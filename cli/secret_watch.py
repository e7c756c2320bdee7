"""Keeps a door's webhook secrets what their file says, without a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from config.live_secrets import LiveSecrets, Refused
from events.runtime import Runtime
from ingress.metrics import IngressMetrics

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


@asynccontextmanager
async def kept_up_to_date(
    secrets: LiveSecrets, metrics: IngressMetrics, runtime: Runtime
) -> AsyncIterator[None]:
    """In the block the file is looked at each second, if the secrets came out of one."""
    metrics.follow(secrets.current)
    if not secrets.may_change:
        yield
        return
    watching = asyncio.create_task(_watch(secrets, metrics, runtime), name="webhook secrets")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait((watching,))


async def _watch(secrets: LiveSecrets, metrics: IngressMetrics, runtime: Runtime) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            change = await runtime.in_thread(secrets.look)
        except Exception:  # no thread to be had, say: the next look may have one
            log.exception("webhook_secrets_not_looked_at")
            continue
        if change is None:
            continue
        # Readiness stays: those before them are still good, and all doors read the same file. Were each of
        # them to turn unready, a slip in that file would be an outage.
        metrics.secrets_refused.set(isinstance(change, Refused))
        if isinstance(change, Refused):
            log.error("webhook_secrets_refused", reason=change.why, in_force="those before")
        else:
            secrets.take(change)
            metrics.follow(change)
            log.info(
                "webhook_secrets_changed", tenants={tenant: len(each) for tenant, each in change.items()}
            )
