"""From bytes to meaning: shapes, kinds, contradictions, ids, test sends, and bytes of every sort."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.decode import decode
from events.event import Ignored, Kind, RedemptionEvent, Shape
from events.failures import Malformed
from events.kinds import HAPPENINGS
from events.payload import Body, Redemption
from tests.events.payloads import (
    CUSTOMER,
    ID,
    ROLLBACK_ID,
    a_failed_rollback,
    a_failure,
    a_rollback,
    a_success,
    body,
    distribution,
    project,
)

PAYLOADS = {"succeeded": a_success, "rollback.succeeded": a_rollback, "failed": a_failure}
PAYLOADS["rollback.failed"] = a_failed_rollback


def event_of(content: Any) -> RedemptionEvent:
    event = decode(body(content), "default")
    assert isinstance(event, RedemptionEvent)
    return event


def reason_of(content: Any) -> str:
    with pytest.raises(Malformed) as caught:
        decode(content if isinstance(content, bytes) else body(content), "default")
    return caught.value.reason


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (a_success(), Shape.RAW),
        (project(a_success(), "redemption.succeeded"), Shape.PROJECT),
        (distribution(a_success(), "customer.redemption.succeeded"), Shape.DISTRIBUTION),
    ],
)
def test_a_success_is_the_same_event_in_all_three_shapes(content: Any, shape: Shape) -> None:
    event = event_of(content)
    assert event.key == ("default", ID, Kind.SUCCEEDED)
    assert (event.shape, event.rollback_id) == (shape, None)
    assert event.data.order is not None and event.data.order.total_amount == 10349
    assert event.data.customer is not None and event.data.customer.id == CUSTOMER


@pytest.mark.parametrize(
    "content",
    [
        a_rollback(),
        project(a_rollback(), "redemption.rollback.succeeded"),
        distribution(a_rollback(), "customer.redemption.rollback.succeeded"),
    ],
)
def test_a_rollback_is_about_the_original_redemption(content: Any) -> None:
    event = event_of(content)
    assert event.key == ("default", ID, Kind.ROLLED_BACK)
    assert event.rollback_id == ROLLBACK_ID


@pytest.mark.parametrize("type", HAPPENINGS)
def test_the_type_and_the_raw_payload_tell_the_same_kind(type: str) -> None:
    data = PAYLOADS[type.removeprefix("customer.").removeprefix("redemption.")]()
    assert event_of(project(data, type)).kind == event_of(data).kind == HAPPENINGS[type].kind


def test_a_failed_rollback_is_recorded_for_the_original_and_undoes_nothing() -> None:
    event = event_of(a_failed_rollback())
    assert (event.kind, event.redemption_id) == (Kind.FAILED, ID)


@pytest.mark.parametrize("change", [{"result": "FAILURE"}, {"status": "FAILED"}, {"id": "rrf_1"}])
def test_a_raw_rollback_fails_by_any_word_of_its_own(change: dict[str, Any]) -> None:
    assert event_of(a_rollback(**change)).kind is Kind.FAILED


@pytest.mark.parametrize("change", [{"result": "FAILURE"}, {"status": "FAILED"}, {"id": "rf_1"}])
def test_a_raw_redemption_fails_by_any_word_of_its_own(change: dict[str, Any]) -> None:
    assert event_of(a_success(**change)).kind is Kind.FAILED


@pytest.mark.parametrize("status", ["ROLLED BACK", "ROLLED_BACK"])
def test_a_raw_redemption_that_is_rolled_back_needs_no_rollback_object(status: str) -> None:
    assert event_of(a_success(status=status)).key == ("default", ID, Kind.ROLLED_BACK)


@pytest.mark.parametrize("status", ["ROLLED BACK", "ROLLED_BACK", "SUCCEEDED", None, 7, "NEW STATUS", ["x"]])
def test_what_the_original_says_of_itself_does_not_matter_to_its_rollback(status: Any) -> None:
    data = a_rollback()
    data["redemption"]["status"] = status
    assert event_of(project(data, "redemption.rollback.succeeded")).kind is Kind.ROLLED_BACK


def test_a_rollback_without_rollback_object_is_one_of_the_redemption() -> None:
    event = event_of(project(a_success(), "redemption.rollback.succeeded"))
    assert event.key == ("default", ID, Kind.ROLLED_BACK)


def test_an_envelope_whose_type_is_no_string_is_told_by_its_data() -> None:
    assert event_of(project(a_rollback(), None)).kind is Kind.ROLLED_BACK


def test_a_marketers_own_event_and_data_keys_do_not_make_an_envelope() -> None:
    assert event_of(a_success() | {"event": "Spring", "data": 7, "source": []}).shape is Shape.RAW


@pytest.mark.parametrize(
    ("data", "type", "reason"),
    [
        (a_rollback(), "redemption.succeeded", "rollback_under_success"),
        (a_success(result="FAILURE"), "redemption.succeeded", "type_contradicts_result"),
        (a_success(status="FAILED"), "customer.redemption.succeeded", "type_contradicts_result"),
        (a_success(status="ROLLED BACK"), "redemption.succeeded", "type_contradicts_result"),
        (a_success(status="ROLLED_BACK"), "redemption.succeeded", "type_contradicts_result"),
        (a_success(id="rf_1"), "redemption.succeeded", "type_contradicts_result"),
        (a_success(id="rr_1"), "redemption.succeeded", "type_contradicts_result"),
        (a_success(id="rrf_1"), "redemption.succeeded", "type_contradicts_result"),
        (a_rollback(result="FAILURE"), "redemption.rollback.succeeded", "type_contradicts_result"),
        (a_rollback(id="rrf_1"), "redemption.rollback.succeeded", "type_contradicts_result"),
        (a_failure(result="SUCCESS"), "redemption.failed", "type_contradicts_result"),
        (a_failure(status="SUCCEEDED"), "redemption.failed", "type_contradicts_result"),
        (a_rollback(), "redemption.failed", "type_contradicts_result"),
        (a_failure() | {"redemption_rollback": {}}, "redemption.failed", "type_contradicts_result"),
        (a_rollback(), "redemption.rollback.failed", "type_contradicts_result"),
        (a_failure(), "redemption.rollback.succeeded", "type_contradicts_result"),
        (a_success(id="rr_1"), "redemption.rollback.succeeded", "type_contradicts_result"),
        (a_rollback(redemption="r_other"), "redemption.rollback.succeeded", "different_originals"),
        (a_success(id=None), "redemption.succeeded", "no_redemption_id"),
        ({}, "redemption.succeeded", "no_redemption_id"),
        (None, "redemption.succeeded", "no_redemption_id"),
    ],
)
def test_contradictions_have_reasons_of_their_own(data: Any, type: str, reason: str) -> None:
    assert reason_of(project(data, type)) == reason
    assert reason_of(distribution(data, type)) == reason


def test_the_id_is_never_taken_from_elsewhere_in_the_envelope() -> None:
    content = project({"customer": {"id": "c"}}, "redemption.succeeded", entity_id=ID)
    assert reason_of(content) == "no_redemption_id"


def test_a_designed_rollback_may_name_the_original_in_either_place() -> None:
    assert event_of({"redemption_rollback": {"redemption": ID}}).redemption_id == ID
    assert event_of({"redemption_rollback": {}, "redemption": {"id": ID}}).redemption_id == ID


@pytest.mark.parametrize(
    "id", ["", "x" * 256, "ü" * 128, "a\x00b", "a\nb", "a\x7f", "a\x85", "\ud800", 5, True, [], {}, 1.5]
)
def test_an_unfit_id_is_malformed(id: Any) -> None:
    assert reason_of(a_success(id=id)) == "unfit_id"
    assert reason_of({"redemption_rollback": {"redemption": id}}) == "unfit_id"


@pytest.mark.parametrize(
    "id", ["x", "x" * 255, "ü" * 127, "r_😀", " ", "r_/+=", "r_5a2f0c6e1b2d3f4a5b6c7d8e"]
)
def test_a_fit_id_is_kept_as_it_is(id: str) -> None:
    assert event_of(a_success(id=id)).redemption_id == id


def test_an_unfit_rollback_id_fails_nothing_as_nobody_needs_it() -> None:
    assert event_of(a_rollback(id="\x00")).rollback_id is None


@pytest.mark.parametrize("type", ["customer.created", "voucher.published", "redemption.unheard_of", ""])
@pytest.mark.parametrize("data", [a_success(), {}, None, [], {"redemption": {"id": "\x00"}}])
def test_other_event_types_are_ignored_whatever_their_data(type: str, data: Any) -> None:
    assert decode(body(project(data, type)), "default") == Ignored(type)


def test_the_label_of_an_ignored_type_is_short_and_printable() -> None:
    ignored = decode(body(project({}, "a\x1b[31m\n\u2028\ud800" + "x" * 500)), "default")
    assert isinstance(ignored, Ignored)
    assert ignored.type.startswith("a?[31m???xxx")
    assert len(ignored.type) == 100


@pytest.mark.parametrize(
    "id", ["r_000000000000000000", "rf_0", "r_0000-0000", "0", "00000000-0000-0000-0000-000000000000"]
)
@pytest.mark.parametrize("build", [a_success, a_failure])
def test_a_redemption_of_zeros_is_a_test_send(id: str, build: Any) -> None:
    data = build(id=id)
    assert decode(body(data), "default") == Ignored("test-send")
    assert decode(body(project(data, "redemption.succeeded")), "default") == Ignored("test-send")


def test_an_event_of_zeros_is_a_test_send_even_without_redemption() -> None:
    content = project({}, "customer.redemption.succeeded", id="evcus_000000")
    assert decode(body(content), "default") == Ignored("test-send")


@pytest.mark.parametrize("id", ["r_", "r_0a", "r_1000", "r_abc", "-", "_"])
def test_other_ids_are_no_test_sends(id: str) -> None:
    assert event_of(a_success(id=id)).redemption_id == id


def test_the_retired_webhook_is_refused_clearly() -> None:
    old = {"type": "redemption.succeeded", "data": {"object": a_success()["redemption"]}}
    assert reason_of(old) == "unsupported_shape"
    assert decode(body(old | {"type": "customer.created"}), "default") == Ignored("customer.created")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"{}{}", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b'{"x":NaN}', "not_json"),
        (b'{"redemption":5,"x":Infinity}', "not_json"),
        (b'{"redemption":5,"x":-Infinity}', "not_json"),
        (b'{"redemption":"a\nb"}', "not_json"),
        (b'{"x":"\xff"}', "not_utf8"),
        (b'{"x":"\xed\xa0\x80"}', "not_utf8"),
        ("{}".encode("utf-16"), "not_utf8"),
        (b"[" * 100_000, "too_deep"),
        (b'{"x":' * 100_000, "too_deep"),
        (b'{"redemption":5,"x":' + b"[" * 100_000, "too_deep"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"a string"', "not_an_object"),
        (b"5", "not_an_object"),
        (b"{}", "no_redemption_id"),
        (b"null" + b" " * 10, "not_an_object"),
    ],
)
def test_bytes_that_are_no_event_say_why(raw: bytes, reason: str) -> None:
    assert reason_of(raw) == reason


@pytest.mark.parametrize(
    "rubbish",
    [
        b"1" * 5_000,
        b"-" + b"9" * 100_000,
        b"1e400",
        b"1e99999999999999999999",
        b"1e-99999999999999999999",
        b"0." + b"3" * 100_000,
        b'"\\ud800"',
        b"[" * 300 + b"]" * 300,
        b"5",
        b'"text"',
        b"[]",
        b"true",
        b"null",
    ],
)
@pytest.mark.parametrize(
    "place", [b"order", b"customer", b"voucher", b"holder", b"source", b"event", b"data", b"x"]
)
def test_what_no_handler_needs_never_fails_an_event(place: bytes, rubbish: bytes) -> None:
    raw = b'{"redemption":{"id":"r_1","date":%b,"order":{"amount":%b}},"%b":%b}' % (
        rubbish,
        rubbish,
        place,
        rubbish,
    )
    event = decode(raw, "default")
    assert isinstance(event, RedemptionEvent)
    assert event.redemption_id == "r_1"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"redemption":{"id":"r_1"},"redemption":{"id":"r_2"}}',
        b'{"redemption":5,"redemption":{"id":"r_2"}}',
        b'{"redemption":{"id":"r_1","id":"r_2"}}',
        b'{"redemption":{"id":"r_1","\\u0069d":"r_2"}, "order": 5}',
        b'{"redemption":{"id":"r_1","\\u0069d":"r_2"}}',
    ],
)
def test_of_duplicate_keys_the_last_wins(raw: bytes) -> None:
    event = decode(raw, "default")
    assert isinstance(event, RedemptionEvent)
    assert event.redemption_id == "r_2"


def means(raw: bytes) -> Any:
    try:
        return decode(raw, "default")
    except Malformed as malformed:
        return malformed.reason


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_bytes_of_any_sort_are_understood_or_malformed(raw: bytes) -> None:
    means(raw)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["r_1", "r_2", "rf_1", "rr_1", "rrf_1", "r_000", "SUCCESS", "FAILED", "ROLLED BACK", "\ud800"]
    )
    | st.sampled_from(list(HAPPENINGS))
)
NAMES = sorted({*Body.__struct_fields__, *Redemption.__struct_fields__, "amount", "channel_type", "x"})
TREES = st.recursive(
    LEAVES,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=25,
)


@given(TREES)
def test_any_json_is_understood_or_malformed(content: Any) -> None:
    means(body(content))


@given(st.dictionaries(st.sampled_from(NAMES), TREES, max_size=6))
def test_both_readings_agree(content: dict[str, Any]) -> None:
    # A reward that is no object sends the body to the second reading and changes nothing else.
    quick = content | {"redemption": {"id": "r_1", "order": content.get("order"), "reward": None}}
    slow = content | {"redemption": {"id": "r_1", "order": content.get("order"), "reward": 5}}
    read, reread = (means(body(each)) for each in (quick, slow))
    if isinstance(read, RedemptionEvent) and isinstance(reread, RedemptionEvent):
        read, reread = (msgspec.structs.replace(each, body=b"") for each in (read, reread))
    assert read == reread
