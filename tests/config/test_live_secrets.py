"""Webhook secrets that change in their file while we run."""

from pathlib import Path

import pytest

from config.live_secrets import LiveSecrets, Refused, database_url
from config.load import load

OLD, NEW = "the-old-secret", "the-new-secret"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "secrets"
    file.write_text(OLD + "\n", encoding="utf-8")
    return file


@pytest.fixture
def live(file: Path) -> LiveSecrets:
    return LiveSecrets(load({"REDEMPTIONS_WEBHOOK_SECRETS_FILE": str(file)}))


def looked(live: LiveSecrets) -> object:
    """What comes of a change that stays: the second look believes it, and then it is taken."""
    before = live.current
    assert live.look() is None
    change = live.look()
    assert live.current == before
    if change is not None and not isinstance(change, Refused):
        live.take(change)
    return change


def test_old_and_new_stand_in_the_file_together_and_then_the_new_one_alone(
    live: LiveSecrets, file: Path
) -> None:
    assert live.current == {"default": (OLD,)}
    file.write_text(f"{NEW}\n{OLD}\n", encoding="utf-8")
    assert looked(live) == {"default": (NEW, OLD)} == live.current
    file.write_text(f"{NEW}\nacme={OLD}\n", encoding="utf-8")
    assert looked(live) == {"default": (NEW,), "acme": (OLD,)} == live.current
    assert live.look() is None


def test_a_file_that_is_swapped_by_a_link_is_read_anew(live: LiveSecrets, file: Path, tmp_path: Path) -> None:
    # As Kubernetes does it: the name stays, what it points at does not.
    other = tmp_path / "other"
    other.write_text(NEW, encoding="utf-8")
    file.unlink()
    file.symlink_to(other)
    assert looked(live) == {"default": (NEW,)}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"short12\n", "entry 1 is shorter than 8 bytes"),
        (b"the-new-secret\n${NEW_SECRET}\n", "entry 2 is a placeholder"),
        (b"the-new-secret\n\nthe-old-secret\n", "entry 2 is empty"),
        (b"\xff\xfe the-new-secret", "utf-8"),
        (b"the-new-secret\x00", "control characters"),
        (b"x" * 70_000, "larger than"),
        (None, "cannot be read"),
    ],
)
def test_what_is_unfit_changes_nothing_and_is_told_once(
    live: LiveSecrets, file: Path, content: bytes | None, why: str
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    told = looked(live)
    assert isinstance(told, Refused)
    assert why in told.why
    assert not any(part in told.why for part in (OLD, NEW, "NEW_SECRET", "short12", "xx"))
    assert live.current == {"default": (OLD,)}
    assert live.look() is None
    file.write_text(OLD, encoding="utf-8")
    assert looked(live) == {"default": (OLD,)}, "that it is well again is told too"


def test_a_file_caught_half_written_is_not_believed(live: LiveSecrets, file: Path) -> None:
    file.write_text("", encoding="utf-8")
    assert live.look() is None
    file.write_text("the-new-sec", encoding="utf-8")
    assert live.look() is None
    file.write_text(NEW, encoding="utf-8")
    assert looked(live) == {"default": (NEW,)}


def test_secrets_given_as_text_do_not_change() -> None:
    live = LiveSecrets(load({"REDEMPTIONS_WEBHOOK_SECRETS": OLD}))
    assert not live.may_change
    assert (live.look(), live.current) == (None, {"default": (OLD,)})


def test_the_environment_wins_over_a_file_named_in_the_config(tmp_path: Path, file: Path) -> None:
    config = tmp_path / "redemptions.toml"
    config.write_text(f"webhook_secrets_file = '{file}'\n", encoding="utf-8")
    live = LiveSecrets(load({"REDEMPTIONS_WEBHOOK_SECRETS": NEW}, config))
    file.write_text("another-secret", encoding="utf-8")
    assert (live.may_change, live.current) == (False, {"default": (NEW,)})


def test_the_database_url_is_what_its_file_holds_if_it_is_one(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://u:old@db/r\n", encoding="utf-8")
    settings = load({"REDEMPTIONS_DATABASE_URL_FILE": str(file)})
    file.write_text("postgresql://u:new@db/r\n", encoding="utf-8")
    assert database_url(settings) == "postgresql://u:new@db/r"
    for unfit in ("", "${DATABASE_URL}", "mysql://u@db/r", "sqlite:///elsewhere"):
        file.write_text(unfit, encoding="utf-8")
        assert database_url(settings) == "postgresql://u:old@db/r"
    file.unlink()
    assert database_url(settings) == "postgresql://u:old@db/r"
    assert database_url(load({"REDEMPTIONS_DATABASE_URL": "postgresql://x@db/r"})) == "postgresql://x@db/r"
