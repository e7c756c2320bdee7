"""Handlers of users are found: by the entry point of an installed package, or by a setting."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.invocation import Invocation
from events.failures import Misconfigured
from handlers.loyalty.policy import STANDARD
from handlers.protocol import Handlers
from handlers.registry import load_handlers

ROOT = Path(__file__).parents[2]
SHOW = """
import json
from handlers.loyalty.policy import STANDARD
from handlers.registry import load_handlers
handlers = load_handlers((), STANDARD)
found = handlers.transactional, handlers.effect
print(json.dumps([[handler.name for handler in of_a_kind] for of_a_kind in found]))
"""
MODULE = """
from events.event import Kind

class Counts:
    name = "counts"
    kinds = (Kind.SUCCEEDED,)
    keeps_marks = False
    async def apply(self, events, transaction):
        return {}

class Nameless:
    pass

class Useless:
    name = "useless"

class Unmarked:
    name = "unmarked"
    kinds = ()
    async def apply(self, events, transaction):
        return {}

class Impatient:
    name = "impatient"
    kinds = ()
    concurrency = 1
    async def run(self, attempt): ...

class Loyalty(Counts):
    name = "loyalty"

class Fails:
    def __init__(self):
        raise ValueError("SHOP_URL is not set")
"""


@pytest.fixture(autouse=True)
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "users_handlers.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("users_handlers", None)


def names(handlers: Handlers) -> list[str]:
    return [handler.name for handler in handlers.transactional]


def test_a_package_that_is_installed_brings_its_handler(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", *install, ROOT / "examples" / "crm_sync"], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "CRM_SYNC_URL": "https://crm.example"}
    told = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, cwd=tmp_path, check=True, capture_output=True
    )
    transactional, effect = json.loads(told.stdout)
    assert transactional == ["loyalty", "record"]
    assert effect == ["crm-sync"]


def test_a_setting_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDEMPTIONS_HANDLERS", "users_handlers:Counts")
    monkeypatch.setenv("REDEMPTIONS_WEBHOOK_SECRETS", "long-enough")
    settings = Invocation(None).settings()
    assert names(load_handlers(settings.handlers, STANDARD)) == ["loyalty", "record", "counts"]


def test_a_worker_runs_those_it_is_told_to() -> None:
    assert names(load_handlers(["users_handlers:Counts"], STANDARD, only=["counts"])) == ["counts"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("users_handlers:Missing", "cannot load the handler users_handlers:Missing"),
        ("no_such_module:Counts", "No module named 'no_such_module'"),
        ("users_handlers", "cannot load the handler users_handlers"),
        ("users_handlers:Fails", "SHOP_URL is not set"),
        ("users_handlers:Nameless", "has no name"),
        ("users_handlers:Useless", "has none of apply, run and settled"),
        ("users_handlers:Unmarked", "the handler unmarked lacks keeps_marks"),
        ("users_handlers:Impatient", "the handler impatient lacks timeout, retry, wants"),
        ("users_handlers:Loyalty", "two handlers have the name loyalty"),
    ],
)
def test_what_is_no_handler_stops_the_start_with_one_line(path: str, told: str) -> None:
    with pytest.raises(Misconfigured, match=told) as wrong:
        load_handlers([path], STANDARD)
    assert "\n" not in str(wrong.value)
