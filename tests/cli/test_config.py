"""`config show` and what all commands share: the `--config` file, one-line failures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shell


def test_config_show_lists_every_setting_without_secrets(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDEMPTIONS_DATABASE_URL", "postgresql://me:hunter2222@db/x")
    monkeypatch.setenv("REDEMPTIONS_WEBHOOK_SECRETS", "hunter2222")
    ended = shell("config", "show", "--json")
    answer = json.loads(ended.out)
    assert (ended.code, answer["faults"]) == (0, [])
    assert answer["settings"]["REDEMPTIONS_DATABASE_URL"]["value"] == "postgresql://me:***@db/x"
    assert answer["settings"]["REDEMPTIONS_INGRESS_PORT"] == {"value": "8080", "from": "default"}
    assert "hunter" not in ended.out + ended.err + shell("config", "show").out


def test_config_show_works_when_settings_are_wrong(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDEMPTIONS_INGRES_PORT", "1")
    monkeypatch.setenv("REDEMPTIONS_LOG_LEVEL", "lo\x1bud")
    ended = shell("config", "show")
    assert ended.code == 1
    assert "REDEMPTIONS_LOG_LEVEL" in ended.out
    assert "\x1b" not in ended.out + ended.err
    assert len(ended.err.splitlines()) == 2
    assert len(json.loads(shell("config", "show", "--json").out)["faults"]) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_config_file_may_be_named_before_and_after_the_command(
    shell: Shell, tmp_path: Path, place: int
) -> None:
    file = tmp_path / "r.toml"
    file.write_text("ingress_port = 7", encoding="utf-8")
    for option in (["--config", str(file)], [f"--config={file}"]):
        arguments = ["config", "show", "--json"]
        arguments[place:place] = option
        answer = json.loads(shell(*arguments).out)
        assert answer["settings"]["REDEMPTIONS_INGRESS_PORT"] == {"value": "7", "from": "ingress_port"}


def test_wrong_settings_stop_a_command_with_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDEMPTIONS_INGRES_PORT", "1")
    ended = shell("send", __file__)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "redemptions: REDEMPTIONS_INGRES_PORT: no such setting; did you mean REDEMPTIONS_INGRESS_PORT?\n"
    )


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    command = "import os; os.close(0); from cli.main import main; main()"
    read, write = os.pipe()
    os.close(read)
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", command, "config", "show"], cwd=root, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert ended.stderr == b""


def test_a_command_imports_only_what_it_needs() -> None:
    command = (
        "import sys; from cli.main import run; run(['config', 'show']); "
        "sys.exit(any(name in sys.modules for name in ('uvicorn', 'aiokafka', 'sqlalchemy', 'httpx')))"
    )
    root = Path(__file__).parents[2]
    assert (
        subprocess.run([sys.executable, "-c", command], cwd=root, stdout=subprocess.DEVNULL).returncode == 0
    )
