"""`send` and `sign`: signed as Voucherify signs, posted byte for byte, new ids that still belong together."""

import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from cli.freshening import Freshening
from config.demo_secret import demo_secret
from events.signature import matching_secret
from tests.cli.conftest import Ingress, Shell

EXAMPLES = Path(__file__).parents[2] / "examples"
SUCCESS = EXAMPLES / "customer.redemption.succeeded.json"
ROLLBACK = EXAMPLES / "customer.redemption.rollback.succeeded.json"
SECRET = ("--secret", "secretKey")


def test_files_arrive_byte_for_byte_and_signed(shell: Shell, ingress: Ingress) -> None:
    ended = shell("send", str(SUCCESS), str(ROLLBACK), "--url", ingress.url, *SECRET)
    assert ended.code == 0, ended
    assert [request.body for request in ingress.requests] == [SUCCESS.read_bytes(), ROLLBACK.read_bytes()]
    for request in ingress.requests:
        assert matching_secret(request.body, [(request.signature or "").encode()], ["secretKey"]) == 0
    assert ended.out.splitlines()[0] == f'{SUCCESS}: 202 {{"status":"accepted"}}\\x1b'


def test_a_directory_stands_for_its_json_files(shell: Shell, ingress: Ingress) -> None:
    assert shell("send", str(EXAMPLES), "--url", ingress.url, *SECRET).code == 0
    assert len(ingress.requests) == len(list(EXAMPLES.glob("*.json")))


def test_a_body_may_come_from_standard_input(
    shell: Shell, ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff no json")))
    assert shell("send", "-", "--fresh", "--url", ingress.url, *SECRET).code == 0
    assert ingress.requests[0].body == b"\xff no json"


def test_the_ingress_and_secret_of_the_settings_are_the_default(
    shell: Shell, ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDEMPTIONS_INGRESS_PORT", str(ingress.port))
    monkeypatch.setenv("REDEMPTIONS_WEBHOOK_SECRETS", "acme=acmeSecret,secretKey,olderKey")
    assert shell("send", str(SUCCESS)).code == 0
    assert shell("send", str(SUCCESS), "--url", f"{ingress.url}/acme").code == 0
    first, second = ingress.requests
    assert (first.path, second.path) == ("/webhooks/voucherify", "/webhooks/voucherify/acme")
    assert matching_secret(first.body, [(first.signature or "").encode()], ["secretKey"]) == 0
    assert matching_secret(second.body, [(second.signature or "").encode()], ["acmeSecret"]) == 0


def test_the_demo_secret_is_used_when_there_is_no_other(
    shell: Shell, ingress: Ingress, tmp_path: Path
) -> None:
    secret = demo_secret(tmp_path / ".redemptions")
    assert shell("send", str(SUCCESS), "--url", ingress.url).code == 0
    request = ingress.requests[0]
    assert matching_secret(request.body, [(request.signature or "").encode()], [secret]) == 0


def test_without_any_secret_send_says_what_to_do(shell: Shell, tmp_path: Path) -> None:
    ended = shell("send", str(SUCCESS), "--url", "http://127.0.0.1:1/webhooks/voucherify/acme")
    assert ended.code == 2
    assert "no secret for tenant acme" in ended.err
    assert not (tmp_path / ".redemptions").exists()


def test_one_refusal_fails_the_call_but_the_others_are_sent(shell: Shell, ingress: Ingress) -> None:
    ingress.answers.extend([401, 202])
    ended = shell("send", str(SUCCESS), str(ROLLBACK), "--url", ingress.url, *SECRET)
    assert ended.code == 1
    assert len(ingress.requests) == 2
    assert ": 401 " in ended.out


def test_nobody_listening_is_one_clear_line(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = shell("send", str(SUCCESS), "--url", f"http://127.0.0.1:{port}/", *SECRET)
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1
    assert f"nobody listens at http://127.0.0.1:{port}/" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("send",),
        ("send", "/nowhere.json", *SECRET),
        ("sign", "/nowhere.json", *SECRET),
        ("send", str(SUCCESS), "--ulr", "x"),
        ("sned",),
        ("send", str(SUCCESS), "--config", "/nowhere.toml"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1


def test_an_address_that_is_none_is_one_line(shell: Shell) -> None:
    ended = shell("send", str(SUCCESS), "--url", "nowhere", *SECRET)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("body", [b'{"a":1}', b'{\n  "a": 1\n}\n'])
def test_sign_gives_the_documented_signature(shell: Shell, tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "body"
    file.write_bytes(body)
    ended = shell("sign", str(file), *SECRET)
    assert ended.out == "a17d2ac229d1ebbb5f10e839c7985c4818e5986eab297f7e5979196d4d7d3ed2\n"


def sent_fresh(shell: Shell, ingress: Ingress, *files: Path) -> list[dict[str, Any]]:
    del ingress.requests[:]
    assert shell("send", *map(str, files), "--fresh", "--url", ingress.url, *SECRET).code == 0
    return [json.loads(request.body) for request in ingress.requests]


def test_fresh_files_of_one_call_still_belong_together(shell: Shell, ingress: Ingress) -> None:
    success, rollback = sent_fresh(shell, ingress, SUCCESS, ROLLBACK)
    new = success["redemption"]["id"]
    assert new.startswith("r_")
    assert new not in SUCCESS.read_text()
    assert rollback["redemption"]["id"] == rollback["redemption_rollback"]["redemption"] == new
    assert rollback["redemption_rollback"]["id"].startswith("rr_")
    assert rollback["redemption_rollback"]["id"] not in ROLLBACK.read_text()
    assert success["order"]["id"] == rollback["order"]["id"] == rollback["redemption"]["order"]["id"]
    assert success["order"]["id"] not in SUCCESS.read_text()
    again, _ = sent_fresh(shell, ingress, SUCCESS, ROLLBACK)
    assert again["redemption"]["id"] != new


def test_fresh_keeps_all_but_ids_and_times(shell: Shell, ingress: Ingress) -> None:
    old = json.loads(SUCCESS.read_bytes())
    (new,) = sent_fresh(shell, ingress, SUCCESS)
    assert new["redemption"]["date"] > "2026"
    assert new["customer"] == old["customer"]
    assert new["order"]["amount"] == old["order"]["amount"]
    assert new["voucher"]["id"] == old["voucher"]["id"]


def test_fresh_renews_an_envelope_too() -> None:
    body = (
        b'{"id":"whs_1","event":{"id":"evred_1","created_at":"2020-01-01T00:00:00Z","entity_id":"r_1"},'
        b'"data":{"redemption":{"id":"r_1","redemption":"r_0a","amount":1.0}}}'
    )
    text = Freshening().apply(body).decode()
    fresh = json.loads(text)
    assert not {"whs_1", "evred_1", "r_1", "r_0a", "2020-01-01T00:00:00Z"} & set(text.split('"'))
    assert fresh["event"]["entity_id"] == fresh["data"]["redemption"]["id"]
    assert '"amount":1.0' in text


def test_a_test_send_stays_one_when_fresh() -> None:
    body = b'{"redemption":{"id":"r_000000000000000000"}}'
    assert Freshening().apply(body) == body


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"x"', b'{"redemption":[{"id":1}],"order":{"id":""}}', b"[" * 100_000]
)
def test_fresh_leaves_a_body_without_ids_alone(body: bytes) -> None:
    assert Freshening().apply(body) == body
