"""What one batch does: new effects once, bad events alone, letters with their raw bytes."""

from collections.abc import Sequence
from typing import Any

import pytest

from events.event import RedemptionEvent
from events.failures import Refused
from handlers.protocol import Skipped, Verdicts
from storage.database import Transaction
from storage.schema import State
from tests.consumer.bench import LETTERS, Bench, a_rollback, a_success
from tests.consumer.scripted import TOPIC, ScriptedLog


async def test_a_redemption_delivered_twice_has_each_effect_once(bench: Bench, log: ScriptedLog) -> None:
    for _ in range(3):
        await log.append(TOPIC, a_success())
    await bench.settle_all()
    assert await bench.points() == 100
    assert await bench.rows("SELECT id FROM sales") == [("r_1",)]
    assert bench.caller.calls == [("caller:default:succeeded:r_1", 1)]


async def test_a_rollback_brings_the_points_to_zero_whichever_comes_first(
    bench: Bench, log: ScriptedLog
) -> None:
    for body in (a_success("r_1"), a_rollback("r_1"), a_rollback("r_2"), a_success("r_2")):
        await log.append(TOPIC, body)
    await bench.settle_all()
    assert await bench.points() == 0
    assert len(bench.caller.calls) == 4


async def test_tenants_do_not_meet(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, a_success())
    await log.append(TOPIC, a_success(), headers=[("tenant", b"other")])
    await bench.settle_all()
    assert (await bench.points(), await bench.points(tenant="other")) == (100, 100)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"rubbish", "not_json"),
        (b"", "not_json"),
        (b'{"redemption": {"id": ""}}', "unfit_id"),
        (b"\xff\xfe", "not_utf8"),
        (b"[" * 100_000, "too_deep"),
    ],
)
async def test_a_malformed_record_is_set_aside_alone(
    bench: Bench, log: ScriptedLog, body: bytes, reason: str
) -> None:
    headers = [("tenant", b"default"), ("request-id", b"\x00\xff")]
    await log.append(TOPIC, a_success("r_1"))
    await log.append(TOPIC, body, key=b"k", headers=headers)
    await log.append(TOPIC, a_success("r_2"))
    await bench.settle_all()
    assert await bench.points() == 200
    assert await bench.letters() == [(None, reason, None, 0, 0, 1)]
    assert await bench.rows("SELECT key, value FROM dead_letters") == [(b"k", body)]
    published = [record for records in log.topics[LETTERS].values() for record in records]
    assert [(record.value, record.key) for record in published] == [(body, b"k")]
    assert dict(published[0].headers).get("request-id") == b"\x00\xff"
    assert dict(published[0].headers).get("kafka_dlt-original-topic") == TOPIC.encode()
    assert dict(published[0].headers).get("redemptions-reason") == reason.encode()
    assert dict(published[0].headers).get("redemptions-handler") is None


async def test_equal_bytes_in_two_records_are_two_letters_with_one_fingerprint(
    bench: Bench, log: ScriptedLog
) -> None:
    await log.append(TOPIC, b"rubbish")
    await log.append(TOPIC, b"rubbish")
    await bench.settle_all()
    assert len(await bench.letters()) == 2
    assert await bench.scalar("SELECT count(DISTINCT fingerprint) FROM dead_letters") == 1


async def test_a_refused_event_is_a_letter_of_that_handler_and_the_others_go_on(
    bench: Bench, log: ScriptedLog
) -> None:
    await log.append(TOPIC, a_success("r_1", total="12.5"))
    await bench.settle_all()
    assert await bench.letters() == [("loyalty", "unfit_amount", "r_1", 0, 0, 1)]
    assert await bench.rows("SELECT id FROM sales") == [("r_1",)]
    effects = await bench.effects()
    assert effects["loyalty", "r_1", 0][0] == State.DEAD
    assert effects["caller", "r_1", 0][0] == State.DONE


async def test_one_poison_event_among_many_is_found_and_the_rest_applied(
    bench: Bench, log: ScriptedLog
) -> None:
    for number in range(1, 41):
        await log.append(TOPIC, a_success(f"r_{number}", total=100))
    bench.shop.verdicts["r_17"] = ValueError("no such article")
    await bench.settle_all()
    assert await bench.letters() == [("shop", "handler_error", "r_17", 0, 0, 2)]
    assert await bench.scalar("SELECT count(*) FROM sales") == 39
    assert await bench.points() == 40


async def test_a_statement_that_the_data_breaks_is_isolated_too(bench: Bench, log: ScriptedLog) -> None:
    async with bench.database.transaction() as transaction:
        await transaction.run("INSERT INTO sales (id) VALUES ('r_3')")
    for number in range(1, 6):
        await log.append(TOPIC, a_success(f"r_{number}"))
    await bench.settle_all()
    assert await bench.letters() == [("shop", "handler_error", "r_3", 0, 0, 2)]
    assert await bench.scalar("SELECT count(*) FROM sales") == 5
    error = await bench.scalar("SELECT error FROM dead_letters")
    assert "r_3" not in error


async def test_refusals_and_skips_of_a_users_handler_are_kept(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts = {"r_1": Refused("not_ours", "another shop's sale"), "r_2": Skipped("too_small")}
    for number in range(1, 5):
        await log.append(TOPIC, a_success(f"r_{number}"))
    await bench.settle_all()
    effects = await bench.effects()
    assert effects["shop", "r_1", 0] == (State.DEAD, 1, "not_ours")
    assert effects["shop", "r_2", 0] == (State.SKIPPED, 0, "too_small")
    assert effects["shop", "r_3", 0][0] == State.DONE
    assert await bench.letters() == [("shop", "not_ours", "r_1", 0, 0, 1)]


async def test_failed_events_are_recorded_and_act_on_nothing(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, b'{"redemption": {"id": "rf_1", "result": "FAILURE"}}')
    await bench.settle_all()
    assert await bench.effects() == {("record", "rf_1", 2): (State.DONE, 0, None)}
    assert await bench.letters() == []


async def test_other_event_types_and_test_sends_leave_no_row(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, b'{"event": {"type": "voucher.published"}, "data": {}}')
    await log.append(TOPIC, a_success("r_000000000000000000"))
    await bench.settle_all()
    assert await bench.effects() == {}
    assert await bench.letters() == []
    assert [outcome.reason for outcome in bench.told.outcomes] == ["voucher.published", "test-send"]


async def test_the_observer_hears_what_was_posted(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, a_success())
    await bench.settle_all()
    (outcome,) = bench.told.outcomes
    assert (outcome.redemption_id, outcome.customer_id, outcome.notes) == ("r_1", "cust_1", ("+100 points",))
    assert outcome.results == {"loyalty": "done", "shop": "done", "caller": "pending"}


async def test_events_that_only_fail_together_all_go_through(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = bench.shop.apply

    async def jealous(events: Sequence[RedemptionEvent], transaction: Transaction) -> Verdicts:
        if {"r_1", "r_4"} <= {event.redemption_id for event in events}:
            raise ValueError("not these two in one call")
        return await apply(events, transaction)

    monkeypatch.setattr(bench.shop, "apply", jealous)
    for number in range(1, 5):
        await log.append(TOPIC, a_success(f"r_{number}"))
    await bench.settle_all()
    assert await bench.letters() == []
    assert await bench.scalar("SELECT count(*) FROM sales") == 4


async def test_reasons_and_verdicts_that_make_no_sense_jam_nothing(
    bench: Bench, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.shop.verdicts = {"r_1": Refused("a\x00b", "c\x00d\ud800"), "r_2": Skipped("e\x00\ud800")}
    apply = bench.shop.apply

    async def odd(events: Sequence[RedemptionEvent], transaction: Transaction) -> Any:
        verdicts = await apply(events, transaction)
        wrong = {i: "no" for i, event in enumerate(events) if event.redemption_id == "r_3"}
        return {**verdicts, **wrong}

    monkeypatch.setattr(bench.shop, "apply", odd)
    for number in range(1, 5):
        await log.append(TOPIC, a_success(f"r_{number}"))
    await bench.settle_all()
    assert sorted(letter[:3] for letter in await bench.letters()) == [
        ("shop", "a�b", "r_1"),
        ("shop", "handler_error", "r_3"),
    ]
    effects = await bench.effects()
    assert effects["shop", "r_2", 0] == (State.SKIPPED, 0, "e��")
    assert effects["shop", "r_4", 0] == (State.DONE, 0, None)


async def test_letters_name_nobody(bench: Bench, log: ScriptedLog) -> None:
    bench.shop.verdicts["r_1"] = ValueError("no account for <anna@example.com>, sorry")
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert await bench.scalar("SELECT error FROM dead_letters") == "no account for [withheld] sorry"


async def test_no_mark_of_a_savepoint_that_was_undone_is_kept(bench: Bench, log: ScriptedLog) -> None:
    async def learns_and_fails(transaction: Transaction) -> None:
        await transaction.learn(["ephemeral"])
        raise ValueError("no")

    bench.shop.verdicts["r_1"] = learns_and_fails
    await log.append(TOPIC, a_success("r_1"))
    await bench.settle_all()
    assert await bench.scalar("SELECT count(*) FROM names WHERE name = 'ephemeral'") == 0


async def test_what_the_ledger_finds_odd_is_a_metric_once_committed(bench: Bench, log: ScriptedLog) -> None:
    await log.append(TOPIC, a_success(total=900))
    await log.append(TOPIC, a_success(total=1000))
    await log.append(TOPIC, a_success("r_2", total=-5))
    await bench.settle_all()
    odd = {"handler": "loyalty", "what": "conflict_total_amount"}
    assert bench.metric("oddities_total", **odd) == 1
    assert bench.metric("oddities_total", **odd | {"what": "negative_base"}) == 1
