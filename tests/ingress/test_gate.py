"""How many requests may wait for the log, by how it does."""

from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from events.failures import Unavailable
from events.runtime import SystemRuntime
from ingress.appending import Appending
from ingress.gate import FEW, PATIENCE, Gate
from ingress.metrics import IngressMetrics
from tests.ingress.served import FakeLog

MOST = 512
LATE = 1.5 * PATIENCE


class Clock:
    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


def a_gate(most: int = MOST) -> tuple[Gate, Clock]:
    clock = Clock()
    return Gate(clock, most), clock  # type: ignore[arg-type]


def wait_at(gate: Gate, count: int) -> ExitStack:
    places = ExitStack()
    for _ in range(count):
        assert gate.enter()
        places.callback(gate.leave)
    return places


def test_more_than_there_is_room_for_find_the_gate_shut_until_one_is_done() -> None:
    gate, _ = a_gate(2)
    with wait_at(gate, 1):
        assert not gate.is_shut()
        with wait_at(gate, 1):
            assert (gate.enter(), gate.is_shut()) == (False, True)
        assert not gate.is_shut()


def test_what_is_confirmed_late_halves_the_room_once_for_all_that_came_together() -> None:
    gate, clock = a_gate()
    with wait_at(gate, 400):
        began = clock.seconds
        clock.seconds += LATE
        for _ in range(100):
            gate.confirmed(began)
        assert gate.room == 200
        clock.seconds += LATE
        gate.confirmed(began)
        assert gate.room == 100


def test_what_is_confirmed_in_time_gives_the_room_back_one_by_one() -> None:
    gate, clock = a_gate()
    with wait_at(gate, 100):
        clock.seconds += LATE
        gate.confirmed(clock.seconds - LATE)
    assert gate.room == 50
    for _ in range(MOST):
        gate.confirmed(clock.seconds)
    assert gate.room == MOST


def test_the_room_never_falls_below_a_few() -> None:
    gate, clock = a_gate()
    for _ in range(20):
        clock.seconds += LATE
        gate.failed()
    assert gate.room == FEW


def test_a_log_that_confirms_nothing_lets_few_wait_before_the_first_has_waited_out_its_time() -> None:
    gate, clock = a_gate()
    with wait_at(gate, FEW):
        assert not gate.is_shut()
        clock.seconds += LATE
        assert gate.is_shut()
        gate.confirmed(clock.seconds)
        assert not gate.is_shut()


def test_a_log_with_nothing_to_confirm_is_not_taken_for_a_silent_one() -> None:
    gate, clock = a_gate()
    clock.seconds += 3600
    assert gate.room == MOST
    with wait_at(gate, 100):
        assert gate.room == MOST


def test_one_stuck_partition_does_not_keep_the_others_waiting() -> None:
    gate, clock = a_gate()
    with wait_at(gate, 100):
        for _ in range(20):
            clock.seconds += PATIENCE / 2
            gate.confirmed(clock.seconds)
        assert gate.room == MOST


def test_after_an_outage_few_may_try_until_one_hears_from_the_log() -> None:
    gate, clock = a_gate()
    with wait_at(gate, 1):
        clock.seconds += LATE
        gate.failed()
    clock.seconds += LATE
    assert gate.room == FEW
    with wait_at(gate, FEW):
        assert gate.is_shut()
    gate.confirmed(clock.seconds)
    for _ in range(MOST):
        gate.confirmed(clock.seconds)
    assert gate.room == MOST


def test_no_more_are_looked_at_together_than_may_wait() -> None:
    gate, clock = a_gate(2)
    states: list[dict[str, Any]] = [{} for _ in range(2)]
    for state in states:
        assert not gate.is_shut()
        gate.announce(state)
    assert gate.is_shut()
    whole = clock.seconds
    clock.seconds += 1
    assert gate.look_at(states[0]) == whole
    assert not gate.is_shut()


def test_those_who_never_pause_leave_room_for_those_who_do() -> None:
    gate, _ = a_gate(16)
    with wait_at(gate, 13):
        assert not gate.is_shut(eager=True)
        gate.announce({})  # whoever is on the way counts for them too
        assert (gate.is_shut(eager=True), gate.is_shut()) == (True, False)


def test_a_single_place_is_for_everybody() -> None:
    gate, _ = a_gate(1)
    assert not gate.is_shut(eager=True)


def test_a_request_nobody_announced_is_whole_now() -> None:
    gate, clock = a_gate()
    assert gate.look_at({}) == clock.seconds


@pytest.mark.parametrize("open_log", [True, False])
async def test_the_time_until_a_request_is_looked_at_is_the_logs_no_more(open_log: bool) -> None:
    log, runtime = FakeLog(), SystemRuntime()
    if not open_log:
        log.open.clear()
    appending = Appending(
        log, IngressMetrics(CollectorRegistry()), runtime, Gate(runtime, MOST), deadline=3600.0
    )
    long_ago = runtime.monotonic() - 3601.0
    if open_log:
        await appending.append("topic", b"", None, (), runtime.monotonic() - 3000.0)
    else:
        with pytest.raises(HTTPException) as refused:
            await appending.append("topic", b"", None, (), long_ago)
        assert refused.value.status_code == 503


async def test_the_gate_hears_from_the_log() -> None:
    log, (gate, clock) = FakeLog(), a_gate()
    appending = Appending(log, IngressMetrics(CollectorRegistry()), clock, gate, deadline=4.0)  # type: ignore[arg-type]
    log.failure = Unavailable("kafka_unavailable", "away")
    clock.seconds += LATE
    with pytest.raises(HTTPException):
        await appending.append("topic", b"", None, (), clock.seconds)
    assert gate.room == FEW
    log.failure = None
    await appending.append("topic", b"", None, (), clock.seconds)
    assert gate.room == FEW + 1
