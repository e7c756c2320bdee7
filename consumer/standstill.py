"""Which of this worker's handlers stand still, as the database last said: for intake, probes and metrics."""

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from consumer.metrics import WorkerMetrics
from consumer.progress import Progress
from consumer.waiting import Patience
from events.runtime import Runtime
from handlers.protocol import Handlers
from storage.database import Database
from storage.handler_states import DECODING, HandlerState, Standing, handler_states

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class Standstill:
    """Looks every second. What counts for a batch or a claim is read in its own transaction."""

    def __init__(
        self,
        database: Database,
        handlers: Handlers,
        progress: Progress,
        runtime: Runtime,
        metrics: WorkerMetrics,
    ) -> None:
        self._database = database
        self._needed = {DECODING, *(handler.name for handler in handlers.transactional)}
        self._ours = self._needed | {handler.name for handler in handlers.effect}
        self._progress = progress
        self._patience = Patience(progress, runtime)
        self._gauge = metrics.standing
        self._known: dict[str, HandlerState] = {}

    @property
    def intake(self) -> bool:
        """Whether a handler that every batch needs stands still."""
        return not self._needed.isdisjoint(self._known)

    def holds_up(self, states: Mapping[str, HandlerState]) -> bool:
        """Whether by these states no batch may be stored. Takes note of them."""
        self._note(states.values())
        return self.intake

    async def look(self) -> None:
        """Read the states now. Raises what the database raises."""
        async with self._database.snapshot() as snapshot:
            self._note((await handler_states(snapshot)).values())

    async def look_regularly(self) -> None:
        """Until cancelled."""
        while True:
            await self._patience.outlast("handler states", self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def _note(self, states: Iterable[HandlerState]) -> None:
        now = {state.handler: state for state in states if state.stands and state.handler in self._ours}
        for name in self._known.keys() - now.keys():
            log.info("handler_resumed", handler=name)
            self._gauge.labels(name).set(0)
            self._progress.clear(_what(name))
        for name, state in now.items():
            if self._known.get(name) != state:
                self._tell(state)
        self._known = now

    def _tell(self, state: HandlerState) -> None:
        name = state.handler
        self._gauge.labels(name).set(int(state.standing))
        if state.standing is Standing.HALTED:
            remedy = f"mend it, then `redemptions handlers resume {name}`"
            log.error("handler_halted", handler=name, reason=state.reason, remedy=remedy)
            self._progress.trouble(_what(name), f"halted by the guard: {state.reason}; {remedy}")
        else:
            # An operator's wish is no trouble: a deployment meanwhile should find the worker ready.
            log.warning("handler_paused", handler=name, by=state.who, reason=state.reason)


def _what(handler: str) -> str:
    return f"handler {handler}"
