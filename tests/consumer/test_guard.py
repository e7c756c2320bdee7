"""The guard of the intake: what a bad deployment breaks stays in the log, and junk stops nobody."""

from typing import Any

import pytest

from consumer.guard import Crossed, Guard, GuardLimits
from events.event import Ignored, RedemptionEvent
from events.failures import Malformed, Refused
from events.payload import Body
from storage.database import Database
from storage.handler_states import Standing, handler_states, resume_handler, stop_handler
from tests.consumer.bench import GROUP, Bench, a_rollback, a_success, until
from tests.consumer.orders import worked_on
from tests.consumer.scripted import TOPIC, ScriptedLog


class Always(dict[str, Any]):
    """A verdict on every redemption that has none of its own."""

    def __init__(self, verdict: Any) -> None:
        super().__init__()
        self._verdict = verdict

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, self._verdict)


BUG = ValueError("nothing goes")


def broken(database: Database, log: ScriptedLog, **options: Any) -> Bench:
    """A deployment of which the shop fails for everything."""
    bench = Bench(database, log, **options)
    bench.shop.verdicts = Always(BUG)
    return bench


async def sell(log: ScriptedLog, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await log.append(TOPIC, a_success(f"r_s{number}", total=100), partition=0)


async def positions(bench: Bench) -> dict[int, int]:
    """Of the partitions of which anything is stored."""
    return dict(
        await bench.rows(
            "SELECT partition, next_offset FROM positions WHERE consumer_group = :group AND next_offset > 0",
            group=GROUP,
        )
    )


async def state_of(database: Database, handler: str) -> Any:
    async with database.snapshot() as snapshot:
        return (await handler_states(snapshot)).get(handler)


async def resume(database: Database, handler: str, accept: int = 0) -> None:
    async with database.transaction() as transaction:
        assert await resume_handler(transaction, handler, "ada", "", accept)


def halted(bench: Bench, handler: str = "shop") -> bool:
    return any(f"resume {handler}`" in reason for reason in bench.progress.ready())


async def until_halted(bench: Bench, handler: str = "shop") -> None:
    async with bench.running():
        await until(lambda: halted(bench, handler))


@pytest.mark.parametrize("max_records", [2000, 7], ids=str)
async def test_a_bug_in_a_handler_leaves_the_log_as_it_is_and_the_mended_one_does_all_once(
    database: Database, log: ScriptedLog, max_records: int
) -> None:
    await sell(log, 30)
    await Bench(database, log).settle_all()
    await sell(log, 1000, first=30)

    bad = broken(database, log, max_records=max_records)
    await until_halted(bad)
    assert await positions(bad) == {0: 30}
    assert await bad.letters() == []
    state = await state_of(database, "shop")
    assert (state.standing, state.who) == (Standing.HALTED, "guard")
    assert "20 in a row died, from partition 0 offset 30 on" in state.reason
    assert "ValueError: nothing goes" in state.reason
    assert "`redemptions handlers resume shop`" in bad.progress.ready()[0]
    assert bad.metric("handler_standing", handler="shop") == 2

    restarted = broken(database, log, max_records=max_records)
    await until_halted(restarted)
    assert restarted.shop.batches == []
    await resume(database, "shop")
    await until_halted(again := broken(database, log, max_records=max_records))
    assert await positions(again) == {0: 30}

    mended = Bench(database, log)
    async with mended.running():
        await until(lambda: halted(mended))
        await resume(database, "shop")
        await mended.until_idle()
        await until(lambda: mended.progress.ready() == [])
    assert await mended.scalar("SELECT count(*) FROM sales") == 1030
    assert await mended.letters() == []
    assert await mended.points() == 1030
    assert len({key for key, _ in mended.caller.calls}) == len(mended.caller.calls) == 1000
    assert mended.metric("handler_standing", handler="shop") == 0


async def test_what_dies_one_by_one_in_a_quiet_log_is_a_letter_at_once_until_it_is_too_much(
    database: Database, log: ScriptedLog
) -> None:
    bench = broken(database, log)
    async with bench.running():
        for number in range(19):
            await sell(log, 1, first=number)

            async def told(number: int = number) -> bool:
                return len(await bench.letters()) == number + 1

            await until(told)
        assert bench.progress.ready() == []
        await sell(log, 1, first=19)
        await until(lambda: halted(bench))
    assert len(await bench.letters()) == 19
    assert await positions(bench) == {0: 19}


async def test_a_good_record_among_them_ends_a_row(database: Database, log: ScriptedLog) -> None:
    bench = Bench(database, log)
    for row in range(3):
        await log.append(TOPIC, a_rollback(f"r_x{row}"), partition=0)  # none of the shop's business
        for number in range(15):
            bench.shop.verdicts[f"r_s{row}x{number}"] = Refused("unfit", "an unfit sale")
            await log.append(TOPIC, a_success(f"r_s{row}x{number}"), partition=0)
        for number in range(15, 46):
            await log.append(TOPIC, a_success(f"r_s{row}x{number}"), partition=0)
    await bench.settle_all()
    assert len(await bench.letters()) == 45


async def test_more_than_half_of_the_last_fifty_are_too_many_as_well(
    database: Database, log: ScriptedLog
) -> None:
    bench = Bench(database, log)
    await sell(log, 60)
    bench.shop.verdicts = {f"r_s{number}": BUG for number in range(60) if number % 3}
    await until_halted(bench)
    assert "33 of the last 50 died, from partition 0 offset 1 on" in bench.progress.ready()[0]
    assert await positions(bench) == {0: 1}
    assert await bench.letters() == []


async def test_an_operator_may_accept_that_bad_ones_die(database: Database, log: ScriptedLog) -> None:
    await sell(log, 40)
    bad = Bench(database, log)
    bad.shop.verdicts = {f"r_s{number}": Refused("unfit", "an unfit sale") for number in range(5, 35)}
    async with bad.running():
        await until(lambda: halted(bad))
        assert await positions(bad) == {0: 5}
        await resume(database, "shop", accept=30)
        await bad.until_idle()
    assert len(await bad.letters()) == 30
    assert await bad.scalar("SELECT count(*) FROM sales") == 10
    assert (await state_of(database, "shop")).allowance == 0


async def test_a_replay_that_dies_again_halts_nothing(database: Database, log: ScriptedLog) -> None:
    bench = broken(database, log)
    for batch in range(3):
        await sell(log, 15, first=100 * batch)
        await (bench := broken(database, log)).settle_all()
    _, counts = await worked_on(database, log)
    assert counts["replayed"] == 45
    await broken(database, log).settle_all()
    assert {row[4] for row in await bench.letters()} == {1}


async def test_a_paused_transactional_handler_stops_the_intake_and_nothing_else(
    bench: Bench, log: ScriptedLog
) -> None:
    await sell(log, 1)
    async with bench.running():
        await bench.until_idle()
        async with bench.database.transaction() as transaction:
            await stop_handler(transaction, "shop", Standing.PAUSED, "ada", "")
        await sell(log, 1, first=1)
        await until(lambda: bench.metric("handler_standing", handler="shop") == 1)
        assert await positions(bench) == {0: 1}
        assert not bench.progress.ready()
        assert bench.shop.batches == [["r_s0"]]
        await resume(bench.database, "shop")
        await bench.until_idle()
    assert await bench.scalar("SELECT count(*) FROM sales") == 2


def break_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def interpret(content: Body, tenant: str, body: bytes) -> RedemptionEvent | Ignored:
        raise Malformed("no_redemption_id", "a bug")

    monkeypatch.setattr("consumer.drift.interpret", interpret)


async def test_junk_never_halts(bench: Bench, log: ScriptedLog) -> None:
    for body in (a_success(), b"rubbish", b'{"redemption": {"id": ""}}', b"[]", b"\xff"):
        for _ in range(30):
            await log.append(TOPIC, body, partition=0)
    await bench.settle_all()
    assert len(await bench.letters()) == 120


async def test_a_broken_decoder_halts_before_the_first_of_those_that_look_like_good_ones(
    database: Database, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell(log, 3)
    await Bench(database, log).settle_all()
    break_decoder(monkeypatch)
    for number in range(40):
        await log.append(TOPIC, b"junk, which no good record looks like", partition=0)
        await log.append(TOPIC, a_success(f"r_t{number}"), partition=0)
        await log.append(TOPIC, a_success(f"r_n{number}"), partition=0, headers=[("tenant", b"new")])
    await until_halted(bad := Bench(database, log), "decoding")
    assert await positions(bad) == {0: 4}
    assert [row[1] for row in await bad.letters()] == ["not_json"]
    monkeypatch.undo()
    mended = Bench(database, log)
    async with mended.running():
        await resume(database, "decoding")
        await mended.until_idle()
    assert await mended.scalar("SELECT count(*) FROM sales") == 83
    assert len(await mended.letters()) == 40


async def test_before_any_good_one_of_its_shape_a_flood_is_junk(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_decoder(monkeypatch)
    await sell(log, 60)
    await bench.settle_all()
    assert len(await bench.letters()) == 60


async def test_a_good_one_earlier_in_the_batch_is_known_and_a_later_one_is_not(
    database: Database, log: ScriptedLog
) -> None:
    for _ in range(30):
        await log.append(TOPIC, a_success(""), partition=0)
    for number in range(20):
        await log.append(TOPIC, a_rollback(f"r_x{number}"), partition=0)
    await sell(log, 1)
    for _ in range(30):
        await log.append(TOPIC, a_success(""), partition=0)
    await until_halted(bench := Bench(database, log), "decoding")
    assert await positions(bench) == {0: 51}
    assert len(await bench.letters()) == 30


def judged(guard: Guard, fates: str) -> int | None:
    """Where the guard cuts a batch of good (g) and dead (d) records."""
    trial = guard.trial({})
    deaths = {index: BUG for index, fate in enumerate(fates) if fate == "d"}
    try:
        trial.judge("shop", range(len(fates)), deaths)
    except Crossed as crossed:
        return crossed.index
    guard.accept(trial)
    return None


def test_a_row_goes_on_from_batch_to_batch_and_is_cut_where_this_one_begins() -> None:
    guard = Guard(GuardLimits(in_a_row=4, window=0))
    assert judged(guard, "gggdd") is None
    assert judged(guard, "dddg") == 0
    assert judged(guard, "dgggd") is None
    assert judged(guard, "ggddddg") == 2


def test_a_share_is_taken_of_a_full_window_only() -> None:
    guard = Guard(GuardLimits(in_a_row=0, window=4, share=0.5))
    assert judged(guard, "ddd") is None
    assert judged(guard, "gg") is None
    assert judged(guard, "gdgd") is None
    assert judged(guard, "gdd") == 1


def test_with_all_rules_off_anything_may_die() -> None:
    assert judged(Guard(GuardLimits(in_a_row=0, window=0)), "d" * 1000) is None
