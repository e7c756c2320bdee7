"""`traffic`: what it sends, what it prints, and when it says no."""

import json

import pytest

from cli import traffic as command
from events.signature import matching_secret
from tests.cli.conftest import Ingress, Shell
from traffic.generator import traffic

SECRET = ("--secret", "secretKey")
FAST = ("--rate", "100000")


def sent(shell: Shell, ingress: Ingress, *more: str) -> tuple[int, dict[str, object]]:
    ended = shell(
        "traffic", "--url", ingress.url, "--seed", "3", "--events", "60", *FAST, *SECRET, *more, "--json"
    )
    return ended.code, json.loads(ended.out)


def test_a_seed_names_the_load_and_the_balances_it_must_come_to(shell: Shell, ingress: Ingress) -> None:
    load = traffic(3, 60)
    code, answer = sent(shell, ingress)
    assert code == 0
    assert answer["accepted"] == answer["deliveries"] == len(load.deliveries)
    assert answer["balances"] == load.expected().balances
    assert answer["dead_letters"] == load.expected().dead_letters
    assert answer["uncertain"] == []
    assert {each.body for each in ingress.requests} == {each.body for each in load.deliveries}
    for each in ingress.requests:
        assert matching_secret(each.body, [(each.signature or "").encode()], ["secretKey"]) == 0


def test_what_was_not_accepted_is_said_and_its_customers_are_left_out(shell: Shell, ingress: Ingress) -> None:
    ingress.answers.extend([401] * 40)
    code, answer = sent(shell, ingress)
    assert code == 1
    assert answer["uncertain"]
    assert not set(answer["uncertain"]) & set(answer["balances"])  # type: ignore[call-overload]


def test_an_ingress_that_is_busy_is_asked_again(shell: Shell, ingress: Ingress) -> None:
    ingress.answers.extend([503] * 5)
    code, answer = sent(shell, ingress)
    assert code == 0
    assert answer["accepted"] == answer["deliveries"]
    assert answer["requests"] >= answer["deliveries"] + 5  # type: ignore[operator]


def test_an_ingress_that_is_away_is_said_in_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PATIENCE_SECONDS", 0.01)
    ended = shell("traffic", "--url", "http://127.0.0.1:9/", "--events", "5", *FAST, *SECRET)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert "not accepted by http://127.0.0.1:9/" in ended.err


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://127.0.0.1/", "http://", "nonsense"])
def test_an_address_that_is_none_is_wrong_use(shell: Shell, url: str) -> None:
    ended = shell("traffic", "--url", url, *SECRET)
    assert ended.code == 2, ended
    assert url in ended.err


def test_a_tenant_has_a_route_of_its_own(
    shell: Shell, ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDEMPTIONS_INGRESS_PORT", str(ingress.port))
    monkeypatch.setenv("REDEMPTIONS_WEBHOOK_SECRETS", "acme=acmeSecret")
    assert shell("traffic", "--tenant", "acme", "--events", "3", *FAST).code == 0
    assert {each.path for each in ingress.requests} == {"/webhooks/voucherify/acme"}
