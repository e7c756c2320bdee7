"""Dead letters put back on the events topic: only what failed runs again, once, and the letter tells how."""

import pytest

from broker.protocols import Record
from consumer.item import ForOthers, read_item
from events.event import Kind
from events.failures import Malformed, Refused, Unavailable
from events.reading import read
from storage.database import Database
from storage.dead_letters import letter_id
from storage.schema import LetterState, State
from tests.consumer.bench import GROUP, LETTERS, Bench, Caller, a_success
from tests.consumer.orders import worked_on
from tests.consumer.scripted import TOPIC, ScriptedLog

OPEN, REPLAYED = LetterState.OPEN, LetterState.REPLAYED


async def replay(bench: Bench) -> int:
    """Replay every open letter; returns how many were published."""
    _, counts = await worked_on(bench.database, bench.log)
    return counts["replayed"]


async def replayed(bench: Bench, log: ScriptedLog) -> Bench:
    """Replay every open letter and let a mended worker settle what comes of it."""
    await replay(bench)
    mended = Bench(bench.database, log)
    await mended.settle_all()
    return mended


def replay_records(log: ScriptedLog) -> list[Record]:
    return [
        record
        for records in log.topics[TOPIC].values()
        for record in records
        if dict(record.headers).get("redemptions-replay-letter")
    ]


async def test_an_effect_that_died_runs_again_and_nothing_else_does(bench: Bench, log: ScriptedLog) -> None:
    bench.caller.answers["r_1"] = [Refused("no_address", "nobody to write to")]
    await log.append(TOPIC, a_success("r_1"), headers=[("tenant", b"default"), ("request-id", b"7")])
    await bench.settle_all()
    mended = await replayed(bench, log)
    assert mended.caller.calls == [("caller:default:succeeded:r_1", 1)]
    assert mended.shop.batches == []
    assert (await mended.effects())["caller", "r_1", 0] == (State.DONE, 1, None)
    assert await mended.letters() == [("caller", "no_address", "r_1", REPLAYED, 0, 1)]
    assert await mended.points() == 100
    assert await mended.scalar("SELECT count(*) FROM payloads") == 0


async def test_a_raising_transactional_handler_is_given_the_event_again(
    bench: Bench, log: ScriptedLog
) -> None:
    bench.shop.verdicts["r_1"] = ValueError("out of stock")
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert await bench.rows("SELECT id FROM sales") == []
    mended = await replayed(bench, log)
    assert await mended.rows("SELECT id FROM sales") == [("r_1",)]
    assert (await mended.effects())["shop", "r_1", 0] == (State.DONE, 0, None)
    assert mended.caller.calls == []


async def test_a_refused_success_is_given_to_the_ledger_again(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(TOPIC, a_success("r_1", total="12.5"))
    await bench.settle_all()
    assert (await bench.effects())["loyalty", "r_1", 0][0] == State.DEAD
    # Still unreadable: the same letter opens again.
    again = await replayed(bench, log)
    assert await again.letters() == [("loyalty", "unfit_amount", "r_1", OPEN, 1, 1)]
    # The ledger has learned to read it.
    whole = a_success("r_1", total=1250)
    monkeypatch.setattr("consumer.drift.read_closely", lambda body: read(whole))
    mended = await replayed(again, log)
    assert await mended.points() == 12
    assert ("loyalty", "r_1", 0) not in await mended.effects()
    assert [letter[3] for letter in await mended.letters()] == [REPLAYED]


async def test_a_healthy_duplicate_heals_a_refusal_and_leaves_no_dead_effect(
    bench: Bench, log: ScriptedLog
) -> None:
    await log.append(TOPIC, a_success("r_1", total="12.5"))
    await bench.settle_all()
    await log.append(TOPIC, a_success("r_1", total=1250))
    await (second := Bench(bench.database, log)).settle_all()
    assert await second.points() == 12
    assert ("loyalty", "r_1", 0) not in await second.effects()
    # Replaying the old letter changes nothing that is right.
    third = await replayed(second, log)
    assert await third.points() == 12


async def test_a_malformed_record_is_for_everybody_again(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(TOPIC, b"rubbish")
    await bench.settle_all()
    again = await replayed(bench, log)
    assert await again.letters() == [(None, "not_json", None, OPEN, 1, 1)]
    for reader in ("consumer.drift.read_closely", "events.decode.read"):
        monkeypatch.setattr(reader, lambda body: read(a_success("r_1")))
    mended = await replayed(again, log)
    assert await mended.points() == 100
    assert (mended.shop.batches, len(mended.caller.calls)) == ([["r_1"]], 1)
    assert await mended.letters() == [(None, "not_json", None, REPLAYED, 1, 1)]


async def test_what_dies_again_is_the_same_letter_one_generation_on(bench: Bench, log: ScriptedLog) -> None:
    sizes = []
    await log.append(TOPIC, a_success("r_1"), key=b"k", headers=[("tenant", b"default"), ("a", b"\xff")])
    for generation in range(4):
        bench = Bench(bench.database, log)
        bench.shop.verdicts["r_1"] = ValueError(f"no. {generation}")
        bench.caller.answers["r_1"] = [Refused("no", f"no. {generation}")]
        await bench.settle_all()
        assert sorted(await bench.letters()) == [
            ("caller", "no", "r_1", OPEN, generation, 1),
            ("shop", "handler_error", "r_1", OPEN, generation, 2),
        ]
        errors = await bench.rows("SELECT DISTINCT error FROM dead_letters")
        assert errors == [(f"no. {generation}",)]
        # A record's own death is judged once more when it is known that nothing follows.
        assert (len(bench.caller.calls), len(bench.shop.batches)) == (1, 2 if generation else 4)
        assert await replay(bench) == 2
        sizes.append({len(record.headers) for record in replay_records(log)[-2:]})
    assert sizes == [{2 + 4}] * 4
    # Each death is told on the dead-letter topic, without headers that pile up.
    published = [record for records in log.topics[LETTERS].values() for record in records]
    assert len(published) == 8
    assert {len(record.headers) for record in published} == {2 + 10}


async def test_replays_for_two_handlers_of_one_event_do_not_meet(
    database: Database, log: ScriptedLog
) -> None:
    def both() -> tuple[Bench, Caller]:
        other = Caller("other")
        bench = Bench(database, log, effects=[other])
        bench.caller.answers["r_1"] = [Refused("no", "not me")]
        other.answers["r_1"] = [Refused("no", "nor me")]
        return bench, other

    await log.append(TOPIC, a_success("r_1"))
    bench, _ = both()
    await bench.settle_all()
    ids = await bench.rows("SELECT id FROM dead_letters ORDER BY id")
    for generation in (1, 2):
        assert await replay(bench) == 2
        bench, other = both()
        await bench.settle_all()
        assert len(bench.caller.calls) == len(other.calls) == 1
        assert await bench.rows("SELECT id FROM dead_letters ORDER BY id") == ids
        assert [letter[3:5] for letter in await bench.letters()] == [(OPEN, generation)] * 2


async def test_a_replay_record_that_comes_twice_changes_nothing(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no")
    bench.caller.answers["r_1"] = [Refused("no", "no")]
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    mended = await replayed(bench, log)
    for record in replay_records(log) * 2:
        await log.append(TOPIC, record.value, key=record.key, headers=record.headers)
    last = Bench(bench.database, log)
    last.shop.verdicts["r_1"] = ValueError("must not be asked")
    last.caller.answers["r_1"] = [Refused("no", "must not be asked")]
    await last.settle_all()
    assert (last.shop.batches, last.caller.calls) == ([], [])
    assert [letter[3] for letter in await last.letters()] == [REPLAYED] * 2
    assert await mended.points() == 100


async def test_a_replay_in_the_batch_of_a_duplicate_is_told_apart(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no")
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    ids = await bench.rows("SELECT id FROM dead_letters")
    await log.append(TOPIC, a_success("r_1"))
    await replay(bench)
    again = Bench(bench.database, log)
    again.shop.verdicts["r_1"] = ValueError("no")
    await again.settle_all()
    assert await again.rows("SELECT id FROM dead_letters") == ids
    assert [letter[3:5] for letter in await again.letters()] == [(OPEN, 1)]


async def test_a_crash_between_publishing_and_marking_repeats_nothing(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no")
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    await replay(bench)
    async with bench.database.transaction() as transaction:
        await transaction.run("UPDATE dead_letters SET state = 0")  # the mark was never stored
    mended = await replayed(bench, log)
    assert len(replay_records(log)) == 2
    assert mended.shop.batches == [["r_1"]]
    assert [letter[3] for letter in await mended.letters()] == [REPLAYED]


async def test_a_worker_quicker_than_the_mark_is_not_overruled(bench: Bench, log: ScriptedLog) -> None:
    """The replayed event dies again before its letter is marked as replayed: it must stay open."""
    bench.shop.verdicts["r_1"] = ValueError("no")
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    append = log.append

    async def append_and_settle(*arguments: object, **named: object) -> tuple[int, int]:
        place = await append(*arguments, **named)  # type: ignore[arg-type]
        quick = Bench(bench.database, log)
        quick.shop.verdicts["r_1"] = ValueError("no")
        log.append = append  # type: ignore[method-assign]
        await quick.settle_all()
        return place

    log.append = append_and_settle  # type: ignore[method-assign]
    assert await replay(bench) == 1
    assert [letter[3:5] for letter in await bench.letters()] == [(OPEN, 1)]


async def test_letters_that_cannot_be_published_stay_open(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, b"rubbish")
    await bench.settle_all()
    log.down = True
    with pytest.raises(Unavailable):
        await replay(bench)
    assert [letter[3] for letter in await bench.letters()] == [OPEN]


async def test_a_replay_for_a_handler_that_is_no_more_opens_its_letter_again(
    database: Database, log: ScriptedLog
) -> None:
    gone = Caller("gone")
    gone.answers["r_1"] = [Refused("no", "no")]
    bench = Bench(database, log, effects=[gone])
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    without = await replayed(bench, log)
    assert await without.letters() == [("gone", "unknown_handler", "r_1", OPEN, 1, 0)]
    gone.answers.clear()
    await replay(without)
    back = Bench(database, log, effects=[gone])
    await back.settle_all()
    assert (await back.effects())["gone", "r_1", 0][0] == State.DONE


async def test_other_groups_pass_over_a_replay(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no")
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    await replay(bench)
    (record,) = replay_records(log)
    assert read_item(record, "another").meaning == ForOthers(GROUP)
    assert getattr(read_item(record, GROUP).meaning, "kind", None) is Kind.SUCCEEDED


async def test_the_id_of_a_letter_is_that_of_its_origin(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no")
    await log.append(TOPIC, a_success("r_1"), partition=1)
    await bench.settle_all()
    (row,) = await bench.rows("SELECT id, topic, partition, timestamp FROM dead_letters")
    assert row == (letter_id(GROUP, TOPIC, 1, 0, 1_700_000_000_000, "shop"), TOPIC, 1, 1_700_000_000_000)
    assert letter_id(GROUP, TOPIC, 1, 0, 0, None) == "8281db8f-5139-59ce-ba49-60314d0f7ff8"


LETTER = ("redemptions-replay-letter", b"4f1b9e40-4e0e-5d48-ad43-9a10d1f2d4c5")
FORGED = (
    [("redemptions-replay-letter", b"\x00")],
    [LETTER],
    [LETTER, ("redemptions-replay-generation", b"-1")],
    [LETTER, ("redemptions-replay-generation", b"99999999999999999999")],
    [LETTER, ("redemptions-replay-generation", b"1"), ("redemptions-replay-handler", b"a\x00b")],
    [("tenant", b"a\x00b")],
    [("tenant", b"\xff")],
    [("tenant", b"x" * 64)],
)


async def test_headers_that_nobody_of_ours_wrote_are_malformed_and_jam_nothing(
    bench: Bench, log: ScriptedLog
) -> None:
    for headers in FORGED:
        await log.append(TOPIC, a_success("r_1"), headers=headers)
    await log.append(TOPIC, a_success("r_2"))
    await bench.settle_all()
    letters = sorted((handler, reason) for handler, reason, *_ in await bench.letters())
    assert letters == [(None, "unfit_replay")] * 5 + [(None, "unfit_tenant")] * 3
    assert await bench.points() == 100


async def test_a_fault_of_the_decoders_sets_one_record_aside(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(body: bytes) -> object:
        if b"r_2" in body:
            raise KeyError("a bug")
        return read(body)

    monkeypatch.setattr("events.decode.read", faulty)
    monkeypatch.setattr("consumer.drift.read_closely", faulty)
    for number in range(1, 4):
        await log.append(TOPIC, a_success(f"r_{number}"))
    await bench.settle_all()
    assert [letter[:2] for letter in await bench.letters()] == [(None, "decoder_error")]
    assert await bench.points() == 200
    assert isinstance(read_item(log.topics[TOPIC][0][1], GROUP).meaning, Malformed)
