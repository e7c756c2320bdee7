"""What counts as undocumented, and that no example tells anything about anybody."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.contract import DATA_KEYS, EVENT_TYPES
from events.decode import decode, interpret
from events.documented import KnownBody
from events.drift import MOST, Drift, drift_in, skeleton
from events.event import Ignored
from events.failures import Malformed
from events.kinds import HAPPENINGS
from events.reading import read, read_closely, read_whole
from tests.events.payloads import (
    a_failed_rollback,
    a_failure,
    a_rollback,
    a_success,
    body,
    distribution,
    project,
)
from tests.events.test_decode import NAMES, TREES

DOCUMENTED = [
    a_success(),
    a_rollback(),
    a_failure(),
    a_failed_rollback(),
    project(a_success(), "redemption.succeeded"),
    distribution(a_rollback(), "customer.redemption.rollback.succeeded"),
]


def drifts(content: Any) -> list[Drift]:
    raw = body(content)
    return drift_in(read_whole(raw), decode(raw, "default"))


def changed(path: str, value: Any) -> dict[str, Any]:
    content = a_success()
    *way, last = path.split(".")
    place: Any = content
    for key in way:
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    place[last] = value
    return content


@pytest.mark.parametrize("content", DOCUMENTED)
def test_what_is_documented_is_no_drift_and_needs_no_second_look(content: Any) -> None:
    assert drifts(content) == []
    assert type(read_closely(body(content))) is KnownBody


@pytest.mark.parametrize(
    ("path", "value", "seen"),
    [
        ("redemption.status", "REFUNDED", "REFUNDED"),
        ("redemption.result", "PARTIAL", "PARTIAL"),
        ("redemption.channel.channel_type", "KIOSK", "KIOSK"),
        ("redemption.order.status", "processing", "processing"),
        ("order.status", "IN TRANSIT", "IN TRANSIT"),
        ("order.status", 7, "(integer)"),
        ("voucher.type", "SUBSCRIPTION", "SUBSCRIPTION"),
        ("redemption.voucher.type", ["x"], "(array)"),
    ],
)
def test_the_decoder_sees_an_unknown_word_in_every_event(path: str, value: Any, seen: str) -> None:
    content = changed(path, value)
    assert drifts(content) == [Drift("value", path, seen)]
    assert type(read_closely(body(content))) is not KnownBody


@pytest.mark.parametrize(
    ("path", "value", "seen"),
    [
        ("campaign.type", "SEASONAL", "SEASONAL"),
        ("campaign", "Spring", "(string)"),
        ("voucher.discount.effect", "APPLY_TWICE", "APPLY_TWICE"),
        ("redemption.object", "redeeming", "redeeming"),
        ("order.items", [{"object": "order_item"}, {"object": "gift"}, 5], "gift"),
    ],
)
def test_a_close_look_sees_the_rest(path: str, value: Any, seen: str) -> None:
    place = f"{path}.object" if path == "order.items" else path
    assert Drift("value", place, seen) in drifts(changed(path, value))


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: project(data, "redemption.succeeded")])
def test_an_unknown_key_is_seen_in_raw_and_enveloped_payloads(wrap: Any) -> None:
    content = wrap(a_success() | {"session": {"key": "x"}})
    assert drifts(content) == [Drift("key", "data", "session")]
    assert type(read_closely(body(content))) is not KnownBody


def test_an_unknown_key_of_the_envelope_is_told_apart() -> None:
    content = project(a_success(), "redemption.succeeded") | {"trace": 1}
    content["source"]["object"] = "pipeline"
    assert drifts(content) == [Drift("key", "envelope", "trace"), Drift("value", "source.object", "pipeline")]


def test_an_event_type_is_drift_only_if_nobody_documents_it() -> None:
    assert drifts(project({}, "redemption.paused")) == [
        Drift("event_type", "event.type", "redemption.paused")
    ]
    assert drifts(project({"anything": 1}, "customer.created")) == []
    assert drifts(a_success(id="r_000")) == []
    assert not EVENT_TYPES & HAPPENINGS.keys()


@pytest.mark.parametrize(
    "text",
    [
        "anna@example.com",
        "Anna Smith",
        "+49 151 2345678",
        "x" * 101,
        "cust_0e6ff48b91cfa02e97",
        "\x1b[31m",
        "",
        "é",
    ],
)
def test_what_may_be_personal_or_hostile_is_named_other(text: str) -> None:
    assert drifts(changed("order.status", text)) == [Drift("value", "order.status", "other")]
    assert drifts(project({}, text)) == [Drift("event_type", "event.type", "other")]
    assert drifts(a_success() | {text: text}) == [Drift("key", "data", "other")]


def test_a_body_full_of_keys_tells_so_many() -> None:
    assert (
        len(drifts(a_success() | {f"key_{'ab'[n % 2]}_{chr(97 + n % 26)}{n % 900}": n for n in range(999)}))
        == MOST
    )


def test_a_structure_holds_no_value_and_no_key_of_the_merchants() -> None:
    told = {
        "customer": {"name": "Anna", "metadata": {"anna@example.com": 1}, "anna@example.com": None},
        "order": {"amount": 12.5, "items": [{"quantity": 1}, {"x": "y"}], "paid": True},
    }
    assert skeleton(told) == {
        "customer": {"name": "string", "metadata": "object", "other": "null"},
        "order": {"amount": "number", "items": [{"quantity": "integer"}], "paid": "boolean"},
    }


def test_a_structure_is_bounded() -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"inner": deep}
    assert len(json.dumps(skeleton(deep))) < 200
    assert len(skeleton({f"k{n % 900}_{chr(97 + n % 26)}": n for n in range(10_000)})) <= 60


def means(content: Any) -> tuple[Any, ...]:
    try:
        event = interpret(content, "default")
    except Malformed as malformed:
        return (malformed.reason,)
    if isinstance(event, Ignored):
        return (event,)
    data = event.data
    parts = (data.customer, data.order, data.voucher, data.holder, data.promotion_tier, data.redemption)
    return (event.key, event.shape, event.rollback_id, [_plain(part) for part in parts])


def _plain(struct: Any) -> Any:
    """Of the fields that the payload structs name, whichever of the two decoders has read them."""
    if not hasattr(struct, "__struct_fields__"):
        return struct
    return {name: _plain(getattr(struct, name)) for name in struct.__struct_fields__}


@given(st.dictionaries(st.sampled_from(NAMES), TREES, max_size=6))
def test_a_close_reading_means_the_same_and_a_close_look_raises_nothing(content: Any) -> None:
    raw = body(content)
    assert means(read_closely(raw)) == means(read(raw))
    with suppress(Malformed):
        drift_in(read_whole(raw), decode(raw, "default"))


def test_the_keys_that_the_decoder_knows_are_those_of_the_contract() -> None:
    assert set(KnownBody.__struct_fields__) >= DATA_KEYS
    for key in DATA_KEYS:
        assert type(read_closely(body(a_success() | {key: None}))) is KnownBody
