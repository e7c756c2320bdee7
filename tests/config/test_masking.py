"""What may be shown of the settings."""

import pytest

from config.given import read
from config.masking import masked, scrubbed


def shown(**values: str) -> dict[str, str | None]:
    given = read({f"REDEMPTIONS_{name}": value for name, value in values.items()}, None)
    return {name.removeprefix("REDEMPTIONS_"): each.value for name, each in masked(given).items()}


def test_what_is_set_and_what_is_default_is_shown_with_its_origin() -> None:
    everything = masked(read({"REDEMPTIONS_INGRESS_PORT": "80"}, None))
    assert everything["REDEMPTIONS_INGRESS_PORT"] == ("80", "REDEMPTIONS_INGRESS_PORT")
    assert everything["REDEMPTIONS_EVENTS_RETENTION"] == ("2592000", "default")
    assert everything["REDEMPTIONS_INSTANCE_ID"] == (None, "default")


def test_wrong_settings_are_shown_too() -> None:
    assert shown(INGRESS_PORT="eighty")["INGRESS_PORT"] == "eighty"


def test_webhook_secrets_are_fingerprints_by_tenant() -> None:
    assert (
        shown(WEBHOOK_SECRETS="secretKey,acme=secretKey")["WEBHOOK_SECRETS"]
        == "default=b23813da, acme=b23813da"
    )
    assert shown(WEBHOOK_SECRETS="short")["WEBHOOK_SECRETS"] == "***"


def test_tokens_and_passwords_are_stars() -> None:
    hidden = shown(KAFKA_SASL_PASSWORD="hunter2", VOUCHERIFY_APP_TOKEN="http://hunter2")
    assert (hidden["KAFKA_SASL_PASSWORD"], hidden["VOUCHERIFY_APP_TOKEN"]) == ("***", "***")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://user:hunter2@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:hunter2/@:hunter2@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        (
            "postgresql:///db?host=/run&user=u&password=hunter2&x=1",
            "postgresql:///db?host=/run&user=u&password=***&x=1",
        ),
        ("postgresql://h/d?sslPassword=hunter2", "postgresql://h/d?sslPassword=***"),
        ("sqlite:////srv/store.db", "sqlite:////srv/store.db"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, expected: str) -> None:
    assert scrubbed(url) == expected


def test_a_database_url_that_is_none_is_hidden_whole() -> None:
    assert shown(DATABASE_URL="host=h password='a b hunter2'")["DATABASE_URL"] == "***"
