"""The handlers that settings ask for: what is served, what is only shown, and what starts warn of."""

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cli.points_policy import policy_in
from cli.worker_handlers import handlers_in
from config.load import load
from config.settings import Settings
from events.failures import Misconfigured
from events.runtime import SystemRuntime
from handlers.protocol import Handlers

RULES = '\n[[rules]]\nname = "a"\non = "succeeded"\nchannel = "crm"\n'
CRM = '[channels.crm]\ntype = "webhook"\nurl = "http://127.0.0.1:9000/"\n'
OTHER = '[channels.other]\ntype = "slack"\nurl = "http://10.0.0.1/hook"\n'
SECRET = '[channels.crm]\ntype = "webhook"\nurl = "https://crm.example/"\nsecret_env = "NOWHERE"\n'

Write = Callable[[str], Settings]


@pytest.fixture
def settings_with(tmp_path: Path) -> Write:
    def write(notifications: str) -> Settings:
        file = tmp_path / "notifications.toml"
        file.write_text(notifications, encoding="utf-8")
        return load({"REDEMPTIONS_NOTIFICATIONS_POLICY": str(file), "REDEMPTIONS_DATA_DIR": str(tmp_path)})

    return write


def served(settings: Settings, *only: str) -> Handlers:
    return handlers_in(settings, policy_in(settings), SystemRuntime(), serving=True, only=only)


def names(handlers: Handlers) -> set[str]:
    return {handler.name for handler in (*handlers.transactional, *handlers.effect)}


def test_a_start_warns_once_of_all_that_is_unprotected(settings_with: Write) -> None:
    with capture_logs() as lines:
        assert "notifications" in names(served(settings_with(CRM + OTHER + RULES)))
    (warning,) = lines
    assert (warning["event"], warning["log_level"]) == ("notifications_unprotected", "warning")
    assert [told.partition(":")[0] for told in warning["channels"]] == ["crm", "other"]


def test_without_rules_nothing_is_served_and_the_handler_is_shown_all_the_same(settings_with: Write) -> None:
    settings = settings_with(CRM)
    # Else it would settle, as met by no rule, what workers with rules have stored.
    assert "notifications" not in names(served(settings))
    assert "notifications" in names(handlers_in(settings, policy_in(settings), SystemRuntime()))
    with pytest.raises(Misconfigured, match="has no rules"):
        served(settings, "notifications")


def test_a_worker_of_other_handlers_needs_no_secrets(settings_with: Write) -> None:
    settings = settings_with(SECRET + RULES)
    assert names(served(settings, "loyalty")) == {"loyalty"}
    for only in ((), ("notifications",)):
        with pytest.raises(Misconfigured, match="the environment has no NOWHERE"):
            served(settings, *only)
