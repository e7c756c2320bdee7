"""Settings out of files: `--config FILE.toml` and `*_FILE`."""

from pathlib import Path

import pytest

from config.load import WrongSettings, load


def toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "redemptions.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = toml(tmp_path, 'ingress_port = 1\nadmin_port = 2\nhandlers = ["a:B", "c:D"]\nrate_limit = 2.5')
    settings = load({"REDEMPTIONS_INGRESS_PORT": "3"}, file)
    assert (settings.ingress_port, settings.admin_port, settings.rate_limit) == (3, 2, 2.5)
    assert settings.handlers == ("a:B", "c:D")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ingres_port = 1", "ingres_port: no such setting; did you mean ingress_port?"),
        ("REDEMPTIONS_INGRESS_PORT = 1", "did you mean ingress_port?"),
        ("ingress_port = 'x'", "ingress_port: 'x' should be a valid integer"),
        ("ingress_port = true", "ingress_port: 'True' should be a valid integer"),
        ("[ingress]\nport = 1", "ingress: no such setting"),
        ("[ingress_port]\nport = 1", "ingress_port: expected text"),
        ("ingress_port", "redemptions.toml: not a TOML file"),
        ("data_dir = ''", "data_dir: is empty"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(WrongSettings) as wrong:
        load({}, toml(tmp_path, text))
    assert complaint in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match=r"none\.toml: cannot be read"):
        load({}, tmp_path / "none.toml")


def test_a_secret_may_come_from_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secretKey\n", encoding="utf-8")
    env = {"REDEMPTIONS_WEBHOOK_SECRETS_FILE": str(secret)}
    assert load(env).webhook_keys() == {"default": ("secretKey",)}


def test_a_file_of_secrets_may_hold_one_a_line(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secretKey\r\nacme=secretKey2\n")
    given = load({"REDEMPTIONS_WEBHOOK_SECRETS_FILE": str(secret)})
    assert given.webhook_keys() == {"default": ("secretKey",), "acme": ("secretKey2",)}


def test_a_secret_in_the_environment_wins_over_a_secret_file_named_in_the_config(tmp_path: Path) -> None:
    file = toml(tmp_path, "database_url_file = '/nowhere'\n")
    with pytest.raises(WrongSettings, match="database_url_file: the file cannot be read"):
        load({}, file)
    (tmp_path / "url").write_text("sqlite:///from-file", encoding="utf-8")
    file = toml(tmp_path, f"database_url_file = '{tmp_path / 'url'}'\n")
    assert load({}, file).database() == "sqlite:///from-file"
    assert load({"REDEMPTIONS_DATABASE_URL": "sqlite:///x"}, file).database() == "sqlite:///x"


def test_a_secret_given_as_text_and_as_file_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secretKey", encoding="utf-8")
    env = {"REDEMPTIONS_WEBHOOK_SECRETS": "secretKey", "REDEMPTIONS_WEBHOOK_SECRETS_FILE": str(secret)}
    with pytest.raises(WrongSettings, match="given twice"):
        load(env)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe secret", b"secret\x00Key", b"x" * 70_000])
def test_an_unfit_secret_file_is_refused(tmp_path: Path, content: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    with pytest.raises(WrongSettings, match="REDEMPTIONS_DATABASE_URL_FILE"):
        load({"REDEMPTIONS_DATABASE_URL_FILE": str(secret)})
