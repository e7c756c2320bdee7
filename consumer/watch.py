"""Looks at the log's ends now and then: for the lag, and whether what is there arrives."""

from broker.protocols import Consumer
from consumer.intake import Intake
from consumer.metrics import WorkerMetrics
from consumer.places import Places
from consumer.placing import Placing, name_of
from consumer.progress import Progress
from consumer.waiting import Patience, set_within

WATCH_SECONDS = 10.0


class Watch:
    """Owns the lag as it is shown, partition by partition."""

    def __init__(
        self,
        consumer: Consumer,
        intake: Intake,
        placing: Placing,
        places: Places,
        progress: Progress,
        patience: Patience,
        metrics: WorkerMetrics,
    ) -> None:
        self._consumer = consumer
        self._intake = intake
        self._placing = placing
        self._places = places
        self._progress = progress
        self._patience = patience
        self._lag = metrics.lag
        self._before: dict[int, int] = {}
        """Where each shown partition stood at the last look."""

    async def run(self) -> None:
        """Look at once whenever partitions come or go, else now and then; until cancelled."""
        while True:
            self._placing.placed.clear()
            await self._patience.outlast("log", self._look)
            await set_within(self._placing.placed, WATCH_SECONDS)
            if not self._placing.placed.is_set():
                self._placing.look_again()

    async def _look(self) -> None:
        ends = await self._ends()
        for partition, end in ends.items():
            self._lag.labels(str(partition)).set(max(0, end - self._places.settled[partition]))
            self._judge(partition, end)
        for partition in self._before.keys() - ends.keys():
            self._lag.remove(str(partition))
            self._progress.moved(name_of(partition))
        self._before = {partition: self._places.fetched[partition] for partition in ends}

    async def _ends(self) -> dict[int, int]:
        held = sorted(self._places.fetched)
        try:
            bounds = await self._consumer.bounds(held) if held else {}
        except Exception:
            for partition in held:  # waiting for the log is no stall
                self._progress.moved(name_of(partition))
            raise
        return {p: bound.end for p, bound in bounds.items() if p in self._places.fetched}

    def _judge(self, partition: int, end: int) -> None:
        """Records that are there and do not come are a stall, unless we know what is being waited for."""
        place = self._places.fetched[partition]
        known = self._intake.waits or self._progress.waits_for("intake")
        if end <= place or self._before.get(partition) != place or known:
            self._progress.moved(name_of(partition))
        else:
            self._progress.stalled(name_of(partition))
