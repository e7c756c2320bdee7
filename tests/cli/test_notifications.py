"""`redemptions notifications`: what is wrong with a file, and what it would tell."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.handlers.notifications.test_policy_file import CRM, LEAST, RULE

EXAMPLES = Path(__file__).parents[2] / "examples"
SUCCESS = str(EXAMPLES / "customer.redemption.succeeded.json")
ROLLBACK = str(EXAMPLES / "customer.redemption.rollback.succeeded.json")


@pytest.fixture
def least(tmp_path: Path) -> str:
    file = tmp_path / "least.toml"
    file.write_text(LEAST, encoding="utf-8")
    return str(file)


def test_a_file_that_is_fine(shell: Shell, least: str) -> None:
    ended = shell("notifications", "check", least)
    assert (ended.code, ended.out) == (0, f"{least}: fine; channels: 1, rules: 1\n")


def test_the_file_in_force_is_checked_without_a_name(
    shell: Shell, least: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "channels: 0, rules: 0" in shell("notifications", "check").out
    monkeypatch.setenv("REDEMPTIONS_NOTIFICATIONS_POLICY", least)
    assert shell("notifications", "check").out.startswith(f"{least}: fine")


def test_each_fault_is_a_line_and_the_exit_code_one(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "n.toml").write_text(CRM + 'secret_env = "NOWHERE"\n' + RULE, encoding="utf-8")
    ended = shell("notifications", "check", "n.toml")
    assert (ended.code, ended.out) == (
        1,
        "n.toml: channels.crm.secret_env: the environment has no NOWHERE\n",
    )
    (tmp_path / "n.toml").write_text("a = 1\nb = 2", encoding="utf-8")
    assert len(shell("notifications", "check", "n.toml").out.splitlines()) == 2
    assert shell("notifications", "check", "none.toml").code == 1


def test_an_unprotected_target_is_warned_of(shell: Shell, tmp_path: Path) -> None:
    text = LEAST.replace("https://crm.example", "http://127.0.0.1:9000")
    (tmp_path / "n.toml").write_text(text, encoding="utf-8")
    ended = shell("notifications", "check", "n.toml")
    assert ended.code == 0
    assert "warning: channels.crm: http:// is neither encrypted nor authenticated" in ended.out


def test_a_preview_renders_and_sends_nothing(shell: Shell, least: str) -> None:
    ended = shell("notifications", "preview", SUCCESS, "--policy", least, "--tenant", "shop", "--json")
    assert ended.code == 0
    (shown,) = json.loads(ended.out)
    assert shown["key"] == "notify:shop:succeeded:r_0e6ff48b91cfa02e97:crm:redeemed"
    assert shown["message"]["body"]["order"]["total_amount"] == 10349
    people = shell("notifications", "preview", SUCCESS, "--policy", least)
    assert "redeemed: to customer by crm, key notify:default:succeeded:" in people.out
    assert "body.customer.name: Jack Webhook" in people.out


def test_a_preview_of_an_event_that_no_rule_is_for(shell: Shell, least: str) -> None:
    assert shell("notifications", "preview", ROLLBACK, "--policy", least).out == "no rule is for this event\n"
    assert shell("notifications", "preview", ROLLBACK, "--policy", least, "--json").out == "[]\n"


def test_a_preview_says_why_there_is_no_message(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "n.toml").write_text(
        '[channels.crm]\ntype = "email"\nhost = "mx"\nsender = "a@example.com"\n' + RULE, encoding="utf-8"
    )
    ended = shell("notifications", "preview", SUCCESS, "--policy", "n.toml")
    assert "skipped: no_address" in ended.out


def test_a_template_that_cannot_be_rendered_is_told_without_what_it_says(
    shell: Shell, least: str, tmp_path: Path
) -> None:
    template = "[templates.redeemed]\njson = '{ \"a\": {{ customer.name.x.y }} }'\n"
    (tmp_path / "n.toml").write_text(LEAST + template, encoding="utf-8")
    ended = shell("notifications", "preview", SUCCESS, "--policy", "n.toml")
    assert (ended.code, ended.out.splitlines()[1]) == (
        1,
        "  refused: template_error: the template cannot be rendered: UndefinedError",
    )


@pytest.mark.parametrize("content", ["{}", "no json", '{"event": {"type": "order.created"}, "data": {}}'])
def test_what_is_no_redemptions_event_has_no_preview(
    shell: Shell, least: str, tmp_path: Path, content: str
) -> None:
    (tmp_path / "event.json").write_text(content, encoding="utf-8")
    ended = shell("notifications", "preview", "event.json", "--policy", least)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert shell("notifications", "preview", "none.json", "--policy", least).code == 2


def test_a_wrong_file_ends_the_start_with_one_line(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "n.toml").write_text(CRM + RULE.replace('"crm"', '"cmr"'), encoding="utf-8")
    monkeypatch.setenv("REDEMPTIONS_NOTIFICATIONS_POLICY", "n.toml")
    monkeypatch.setenv("REDEMPTIONS_INGRESS_PORT", "0")
    monkeypatch.setenv("REDEMPTIONS_ADMIN_PORT", "0")
    ended = shell("run")
    assert ended.code == 2
    assert "rules[1].channel: there is no [channels.cmr]; did you mean crm?" in ended.err
