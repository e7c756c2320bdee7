"""Logs: one line an event, escaped, without secrets or locals; the libraries' warnings among them."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from config.logs import configure


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def log() -> Any:
    configure("json", "info")
    return structlog.get_logger()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_event_is_one_line_of_json_on_stderr(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log.info("batch_settled", records=3)
    log.debug("not_shown")
    (line,) = lines(capsys)
    assert (line["event"], line["records"], line["level"]) == ("batch_settled", 3, "info")
    assert line["timestamp"].endswith("Z")


def test_personal_data_and_secrets_are_withheld(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log.info("x", email="a@b.example", name="Ann", secret="hunter2")
    (line,) = lines(capsys)
    assert (line["email"], line["name"], line["secret"]) == ("(withheld)",) * 3


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_control_characters_cannot_forge_a_line(log_format: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format, "info")
    structlog.get_logger().info("x\nforged", reason="\x1b[2J\x9b\u2028\u202e\u2066\u200f\ud800", ids=["\x1b"])
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert not any(character in err for character in "\x9b\u2028\u202e\u2066\u200f\ud800")
    assert "\x1b[2J" not in err
    assert "\\x1b[2J" in err


def test_an_exception_shows_no_local_variables(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(planted: str) -> None:
        raise RuntimeError("told\x1b")

    try:
        fail("hunt" + "er2")
    except RuntimeError:
        log.exception("failed")
    (line,) = lines(capsys)
    assert "RuntimeError: told\\x1b" in line["exception"]
    assert "hunter2" not in line["exception"]


def test_libraries_are_heard_from_warning_on(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("uvicorn.error", "sqlalchemy.pool", "alembic", "asyncio"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble %s", "a\nb")
    heard = lines(capsys)
    assert [line["event"] for line in heard] == ["trouble a\\nb"] * 4
    assert heard[0]["logger"] == "uvicorn.error"


def test_aiokafka_is_heard_only_when_everything_is(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("aiokafka.conn").error("again")
    assert lines(capsys) == []
    configure("json", "debug")
    logging.getLogger("aiokafka.conn").warning("again")
    assert [line["event"] for line in lines(capsys)] == ["again"]


def test_a_broken_stderr_stops_nobody(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: str = "") -> None:
            raise OSError("no space left on device")

        flush = write

    monkeypatch.setattr(sys, "stderr", Full())
    log.info("x")
    logging.getLogger("aiokafka").warning("y")
