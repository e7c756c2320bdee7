"""What the door accepts, what it refuses and in which order, and the record it writes."""

import json
import re
from datetime import datetime

import pytest

from events.signature import sign
from tests.events.payloads import CUSTOMER, a_success, body, distribution, project
from tests.ingress.conftest import Door, Doors
from tests.ingress.http import OTHER_SECRET, PATH, SECRET, post, post_chunked
from tests.ingress.served import TOPIC

BODY = body(a_success())
ACCEPTED = b'{"status":"accepted"}'


async def test_a_signed_body_is_in_the_log_byte_for_byte_when_it_is_accepted(door: Door) -> None:
    pretty = json.dumps(a_success(), indent=3).encode() + b"\r\n"
    answer = await door.ask(post(pretty))
    assert (answer.status, answer.body) == (202, ACCEPTED)
    [record] = door.log.records
    assert (record.topic, record.value, record.key) == (TOPIC, pretty, CUSTOMER.encode())


async def test_the_three_shapes_of_one_redemption_get_the_same_key(door: Door) -> None:
    for content in (
        a_success(),
        project(a_success(), "redemption.succeeded"),
        distribution(a_success(), "customer.redemption.succeeded"),
    ):
        assert (await door.ask(post(body(content)))).status == 202
    assert [record.key for record in door.log.records] == [CUSTOMER.encode()] * 3


async def test_the_record_carries_tenant_time_request_id_and_trace(door: Door) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await door.ask(post(BODY, "X-Request-Id: req-1.A_b", f"traceparent: {trace}"))
    [record] = door.log.records
    headers = dict(record.headers)
    assert [name for name, _ in record.headers] == ["tenant", "received-at", "request-id", "traceparent"]
    assert (headers["tenant"], headers["request-id"]) == (b"default", b"req-1.A_b")
    assert headers["traceparent"] == trace.encode()
    received = headers["received-at"].decode()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", received)
    assert datetime.fromisoformat(received).tzinfo is not None


@pytest.mark.parametrize(
    "headers",
    [
        ["x-request-id: a b"],
        ["x-request-id: " + "x" * 65],
        ["x-request-id: é"],
        ["x-request-id:"],
        ["x-request-id: a", "x-request-id: b"],
        ["traceparent: 00-" + "0" * 32 + "-b7ad6b7169203331-01"],
        ["traceparent: ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        ["traceparent: nonsense"],
    ],
)
async def test_unsafe_request_ids_and_traces_go_no_further(door: Door, headers: list[str]) -> None:
    assert (await door.ask(post(BODY, *headers))).status == 202
    [record] = door.log.records
    assert re.fullmatch(rb"[0-9a-f]{32}", dict(record.headers)["request-id"])
    assert "traceparent" not in dict(record.headers)


@pytest.mark.parametrize(
    "unreadable",
    [b"", b"\xff\xfe", b"{", b"[" * 100_000, b'"just text"', b'{"x":NaN}', b"  message  ", b"\x00"],
)
async def test_an_authentic_body_that_cannot_be_read_is_accepted(door: Door, unreadable: bytes) -> None:
    assert (await door.ask(post(unreadable))).status == 202
    [record] = door.log.records
    assert (record.value, record.key) == (unreadable, None)
    assert door.count("redemptions_ingress_events_total", type="malformed") == 1


async def test_whitespace_that_a_proxy_changed_does_not_matter(door: Door) -> None:
    pretty = json.dumps(a_success(), indent=2).encode()
    signature = f"x-voucherify-signature: {sign(BODY, SECRET)}"
    assert (await door.ask(post(pretty, signature, secret=None))).status == 202
    [record] = door.log.records
    assert record.value == pretty


GOOD = sign(BODY, SECRET)


BAD_SIGNATURES = [
    [],
    [f"x-voucherify-signature: {GOOD}", f"x-voucherify-signature: {GOOD}"],
    [f"x-voucherify-signature: {GOOD[:-1]}"],
    [f"x-voucherify-signature: {GOOD}0"],
    [f"x-voucherify-signature: {GOOD[:32]} {GOOD[33:]}"],
    ["x-voucherify-signature: " + "é" * 64],
    ["x-voucherify-signature: " + "0" * 64],
    ["x-voucherify-signature:"],
    [f"x-voucherify-signature: sha256={GOOD}"],
    [f"x-signature: {GOOD}"],
    [f"x-voucherify-signature: {sign(BODY, 'guess')}"],
    [f"x-voucherify-signature: {sign(BODY, OTHER_SECRET)}"],
]


async def test_any_other_signature_is_401_and_leaves_no_record(door: Door) -> None:
    for headers in BAD_SIGNATURES:
        answer = await door.ask(post(BODY, *headers, secret=None))
        assert (headers, answer.status, answer.json) == (headers, 401, {"error": "no valid signature"})
    assert door.log.records == []


async def test_the_signature_may_be_written_in_capitals_and_between_blanks(door: Door) -> None:
    for signature in (GOOD.upper(), f"  {GOOD}", f"{GOOD} \t"):
        answer = await door.ask(post(BODY, f"X-Voucherify-Signature:{signature}", secret=None))
        assert (signature, answer.status) == (signature, 202)


async def test_a_tenant_has_secrets_of_its_own_and_may_have_several(door: Door) -> None:
    for secret in (OTHER_SECRET, SECRET):
        assert (await door.ask(post(BODY, path=f"{PATH}/shop-2", secret=secret))).status == 202
    assert [dict(record.headers)["tenant"] for record in door.log.records] == [b"shop-2"] * 2
    assert door.count("redemptions_ingress_signature_matches_total", tenant="shop-2", slot="0") == 1
    assert door.count("redemptions_ingress_signature_matches_total", tenant="shop-2", slot="1") == 1


@pytest.mark.parametrize("tenant", ["nobody", "empty", "x" * 63, "-"])
async def test_a_tenant_without_secrets_is_401(door: Door, tenant: str) -> None:
    for secret in (SECRET, ""):
        assert (await door.ask(post(BODY, path=f"{PATH}/{tenant}", secret=secret))).status == 401


async def test_default_may_be_named_in_the_path(door: Door) -> None:
    assert (await door.ask(post(BODY, path=f"{PATH}/default?from=somewhere"))).status == 202


OTHER_PATHS = [
    "/",
    "/webhooks",
    f"{PATH}/",
    f"{PATH}/default/",
    f"{PATH}/a/b",
    f"{PATH}/Shop",
    f"{PATH}/shop_2",
    f"{PATH}/" + "x" * 64,
    f"{PATH}/%64efault",
    f"{PATH}/a%2Fb",
    f"{PATH}%2Fdefault",
    f"{PATH}%0A",
    f"{PATH}/default%0A",
    f"{PATH}/%00",
    f"{PATH}/../voucherify",
    f"{PATH}/.",
    "/webhooks//voucherify",
    "//webhooks/voucherify",
    "/webhooks/%76oucherify",
    "/Webhooks/voucherify",
    "/health/live",
    "/metrics",
]


async def test_every_other_path_is_404_whatever_else_is_wrong(door: Door) -> None:
    for path in OTHER_PATHS:
        assert (path, (await door.ask(post(BODY, path=path))).status) == (path, 404)
        request = (
            f"PUT {path} HTTP/1.1\r\nhost: t\r\ncontent-encoding: gzip\r\ncontent-length: 99999999\r\n\r\n"
        )
        assert (path, (await door.ask(request.encode())).status) == (path, 404)
    assert door.log.records == []


async def test_other_methods_are_405_and_say_what_is_allowed(door: Door) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
        request = f"{method} {PATH} HTTP/1.1\r\nhost: t\r\ncontent-encoding: gzip\r\n\r\n"
        answer = await door.ask(request.encode())
        assert (method, answer.status, answer.headers["allow"]) == (method, 405, "POST")


async def test_an_encoded_body_is_415_before_its_length_and_signature_are_looked_at(door: Door) -> None:
    for coding in ("gzip", "GZIP", "br", "identity, gzip", "deflate", "x", "zstd"):
        request = post(b"", f"content-encoding: {coding}", secret=None, length=99_999_999)
        assert (coding, (await door.ask(request)).status) == (coding, 415)


async def test_identity_is_no_encoding(door: Door) -> None:
    for coding in ("identity", "Identity", "", "identity, identity"):
        answer = await door.ask(post(BODY, f"content-encoding: {coding}"))
        assert (coding, answer.status) == (coding, 202)


async def test_the_content_type_is_not_looked_at(door: Door) -> None:
    assert (await door.ask(post(BODY, "content-type: image/png"))).status == 202


async def test_a_declared_length_over_the_limit_is_413_before_the_signature(doors: Doors) -> None:
    door = await doors(max_body_bytes=100)
    assert (await door.ask(post(b"", secret=None, length=101))).status == 413
    assert (await door.ask(post(b" " * 100))).status == 202


async def test_a_chunked_body_over_the_limit_is_413_as_soon_as_it_is(doors: Doors) -> None:
    door = await doors(max_body_bytes=5000)
    peer = await door.peer()
    await peer.send(post_chunked(b" " * 6000).removesuffix(b"0\r\n\r\n"))  # and no end in sight
    assert (await peer.answer()).status == 413
    assert (await door.ask(post_chunked(b" " * 5000))).status == 202
    assert door.log.records[-1].value == b" " * 5000


async def test_a_connection_goes_on_behind_a_body_that_was_too_large(doors: Doors) -> None:
    door = await doors(max_body_bytes=100_000)
    peer = await door.peer()
    await peer.send(post(b" " * 1_000_000))
    assert (await peer.answer()).status == 413
    await peer.send(post(BODY))
    assert (await peer.answer()).status == 202


async def test_answers_name_no_software(door: Door) -> None:
    for request in (post(BODY), post(BODY, secret=None), b"GET / HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"):
        answer = await door.ask(request)
        assert not {"server", "x-powered-by", "location"} & set(answer.headers)
        assert answer.headers["content-type"] == "application/json"
