"""What a try is told of its effect: since when it waits, and how often it was replayed."""

from events.failures import Refused
from handlers.protocol import Attempt, Deferred, Skipped
from storage.database import Database
from tests.consumer.bench import Bench, Caller, a_success
from tests.consumer.orders import worked_on
from tests.consumer.scripted import TOPIC, ScriptedLog


class Looks(Caller):
    """Notes the tries themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.tries: list[Attempt] = []

    async def run(self, attempt: Attempt) -> Skipped | None:
        self.tries.append(attempt)
        return await super().run(attempt)


async def test_a_try_knows_when_its_effect_came_to_be_and_by_which_replay(
    database: Database, log: ScriptedLog
) -> None:
    looks = Looks()
    bench = Bench(database, log, caller=looks)
    looks.answers["r_1"] = [Deferred(0.01, "not_yet"), Deferred(0.01, "not_yet"), Refused("no", "no")]
    before = bench.clock.now()
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    # By the database's clock, in whole milliseconds; the first try may be in the very moment.
    since = [one.since for one in looks.tries[1:]]
    assert since[0] is not None
    assert before - 5 <= since[0] <= bench.clock.now() + 5
    assert since == [since[0]] * 2
    assert [one.generation for one in looks.tries] == [0, 0, 0]
    await worked_on(database, log)
    replayed = Bench(database, log, caller=looks)
    await replayed.settle_all()
    assert [one.generation for one in looks.tries] == [0, 0, 0, 1]
