"""Settings: names, bounds, and the one clear line when something is wrong."""

import os
from pathlib import Path

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from config.given import SECRETS
from config.load import WrongSettings, load
from config.settings import RUN_ADMIN_PORT, WORKER_ADMIN_PORT, Settings

DOCUMENTED = set(
    """
    DATA_DIR WEBHOOK_SECRETS KAFKA_BOOTSTRAP_SERVERS KAFKA_SECURITY_PROTOCOL KAFKA_SASL_MECHANISM
    KAFKA_SASL_USERNAME KAFKA_SASL_PASSWORD KAFKA_SSL_CAFILE KAFKA_SSL_CERTFILE KAFKA_SSL_KEYFILE
    DATABASE_URL EVENTS_TOPIC DEAD_LETTERS_TOPIC EVENTS_PARTITIONS REPLICATION_FACTOR EVENTS_RETENTION
    CONSUMER_GROUP INSTANCE_ID SESSION_TIMEOUT DRAIN_SECONDS START_TIMEOUT INGRESS_HOST INGRESS_PORT
    ADMIN_HOST ADMIN_PORT MAX_BODY_BYTES ALLOWED_NETWORKS TRUSTED_PROXIES RATE_LIMIT LOYALTY_POLICY
    NOTIFICATIONS_POLICY DELIVERY_POLICY HANDLERS GUARD_IN_A_ROW GUARD_WINDOW GUARD_SHARE LOG_FORMAT LOG_LEVEL
    VOUCHERIFY_BASE_URL VOUCHERIFY_APP_ID VOUCHERIFY_APP_TOKEN
    """.split()  # noqa: SIM905
)


def settings(**values: str) -> Settings:
    return load({f"REDEMPTIONS_{name}": value for name, value in values.items()})


def complaint(**values: str) -> str:
    with pytest.raises(WrongSettings) as wrong:
        settings(**values)
    text = str(wrong.value)
    assert "\n" not in text
    return text


def test_the_documented_names_are_all_there_is() -> None:
    assert {name.upper() for name in Settings.model_fields} == DOCUMENTED


def test_the_documented_defaults_hold() -> None:
    given = settings()
    assert given.data_dir == Path(".redemptions")
    assert given.database() == "sqlite:///.redemptions/store.db"
    assert (given.events_partitions, given.replication_factor, given.events_retention) == (12, -1, 2_592_000)
    assert (given.session_timeout, given.drain_seconds, given.start_timeout) == (30, 20, 60)
    assert (given.ingress_host, given.ingress_port, given.admin_host) == ("127.0.0.1", 8080, "127.0.0.1")
    assert (given.admin_port_or(RUN_ADMIN_PORT), given.admin_port_or(WORKER_ADMIN_PORT)) == (8081, 8082)
    assert settings(ADMIN_PORT="9").admin_port_or(RUN_ADMIN_PORT) == 9
    assert given.max_body_bytes == 2 * 1024 * 1024
    assert given.webhook_keys() == {}


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().ingress_port = 1


def test_only_the_given_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "REDEMPTIONS_INGRESS_PORT", "1")
    assert settings().ingress_port == 8080


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("KAFKA_BOOTSTRAP", "REDEMPTIONS_KAFKA_BOOTSTRAP_SERVERS"),
        ("INGRES_PORT", "REDEMPTIONS_INGRESS_PORT"),
        ("ingress_port", "REDEMPTIONS_INGRESS_PORT"),
        ("WEBHOOK_SECRET", "REDEMPTIONS_WEBHOOK_SECRETS"),
        ("DATABASE_URL_FIL", "REDEMPTIONS_DATABASE_URL_FILE"),
        ("INGRESS_PORT_FILE", "REDEMPTIONS_INGRESS_PORT"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_right_one(name: str, nearest: str) -> None:
    text = complaint(**{name: "1"})
    assert f"REDEMPTIONS_{name}:" in text
    assert f"did you mean {nearest}?" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INGRESS_PORT", "65536"),
        ("ADMIN_PORT", "-1"),
        ("INGRESS_PORT", "eighty"),
        ("INGRESS_HOST", "a host"),
        ("EVENTS_PARTITIONS", "0"),
        ("EVENTS_PARTITIONS", "1.5"),
        ("REPLICATION_FACTOR", "0"),
        ("REPLICATION_FACTOR", "-2"),
        ("EVENTS_RETENTION", "30d"),
        ("EVENTS_RETENTION", "-1"),
        ("SESSION_TIMEOUT", "0"),
        ("DRAIN_SECONDS", "nan"),
        ("START_TIMEOUT", "inf"),
        ("MAX_BODY_BYTES", "1023"),
        ("MAX_BODY_BYTES", str(64 * 1024 * 1024 + 1)),
        ("EVENTS_TOPIC", "a/b"),
        ("EVENTS_TOPIC", ".."),
        ("CONSUMER_GROUP", "../../etc"),
        ("INSTANCE_ID", "a b"),
        ("INSTANCE_ID", "x" * 201),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:99999"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SSL_CAFILE", "/nowhere/ca.pem"),
        ("ALLOWED_NETWORKS", "10.0.0.0/33"),
        ("RATE_LIMIT", "0"),
        ("HANDLERS", "module"),
        ("HANDLERS", "a:B,,c:D"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "verbose"),
        ("GUARD_SHARE", "1"),
        ("GUARD_IN_A_ROW", "-1"),
        ("VOUCHERIFY_BASE_URL", "ftp://x"),
        ("DATABASE_URL", "mysql://h/d"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATA_DIR", ""),
        ("WEBHOOK_SECRETS", "  "),
        ("INGRESS_HOST", "a\x1b[31m"),
        ("INGRESS_HOST", "\udcff"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(name: str, value: str) -> None:
    assert f"REDEMPTIONS_{name}" in complaint(**{name: value})


def test_the_two_topics_must_differ() -> None:
    assert "REDEMPTIONS_DEAD_LETTERS_TOPIC" in complaint(DEAD_LETTERS_TOPIC="redemptions.events")


def test_sasl_needs_credentials_and_credentials_need_sasl() -> None:
    assert "KAFKA_SASL_PASSWORD" in complaint(KAFKA_SECURITY_PROTOCOL="SASL_SSL", KAFKA_SASL_USERNAME="me")
    assert "SASL_SSL" in complaint(KAFKA_SASL_USERNAME="me", KAFKA_SASL_PASSWORD="mine")
    whole = settings(KAFKA_SECURITY_PROTOCOL="sasl_ssl", KAFKA_SASL_USERNAME="me", KAFKA_SASL_PASSWORD="mine")
    assert whole.kafka_security_protocol == "SASL_SSL"


def test_of_several_faults_the_first_is_told_and_the_rest_counted() -> None:
    assert "(and 2 more" in complaint(NO_SUCH="1", INGRESS_PORT="x", LOG_LEVEL="x")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://u:p%40ss@one:5432,two:5433/db?sslmode=verify-full&target_session_attrs=read-write",
        "postgres://h/d",
        "sqlite:////srv/store.db",
        "sqlite:///store.db",
    ],
)
def test_a_database_url_reaches_the_driver_as_it_is(url: str) -> None:
    assert settings(DATABASE_URL=url).database() == url


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_shows_in_no_repr_and_no_complaint(name: str) -> None:
    secret = {"database_url": "postgresql://u:hunter2222@h/d"}.get(name, "hunter2222")
    env = {name.upper(): secret}
    if name == "kafka_sasl_password":
        env |= {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "me"}
    given = settings(**env)
    assert "hunter" not in repr(given) + str(given) + repr(given.model_dump())
    assert "hunter" not in complaint(**env, INGRESS_PORT="x")
    assert "hunter" not in complaint(**(env | {name.upper(): "mysql://hunter2222\x00"}))


def test_lists_are_commas() -> None:
    given = settings(
        HANDLERS="a.b:C, d:E", ALLOWED_NETWORKS="10.0.0.0/8, ::1", KAFKA_BOOTSTRAP_SERVERS="a:1, [::1]:2"
    )
    assert given.handlers == ("a.b:C", "d:E")
    assert [str(each) for each in given.allowed_networks] == ["10.0.0.0/8", "::1/128"]
    assert given.kafka_bootstrap_servers == "a:1,[::1]:2"


HOSTILE = [
    "=",
    "://",
    "postgresql://",
    "https://[",
    "[::1]:",
    "\udcff",
    "\x00",
    "9" * 400,
    "1e400",
    "::/0",
    "a" * 5_000,
    "/",
]


@examples(
    st.dictionaries(st.sampled_from(sorted(DOCUMENTED)), st.sampled_from(HOSTILE) | st.text(), max_size=3)
)
def test_any_values_give_settings_or_one_line(values: dict[str, str]) -> None:
    try:
        settings(**values)
    except WrongSettings as wrong:
        assert len(str(wrong).splitlines()) == 1
