"""`run`, `ingress` and `worker` that cannot start: one line that says why, at once or after START_TIMEOUT."""

import socket
from pathlib import Path

import pytest

from cli.main import COMMANDS
from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.postgres import OwnPostgres
from tests.end_to_end.processes import SECRET, Answer, Site, free_port

NOWHERE = "127.0.0.1:1"


def one_line(answer: Answer) -> str:
    """The complaint of a command that refused."""
    assert answer.code != 0
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1, answer.err
    assert answer.err.startswith("redemptions: ")
    return answer.err


@pytest.mark.parametrize(
    ("command", "settings", "told"),
    [
        ("worker", {"DATBASE_URL": "x"}, "REDEMPTIONS_DATBASE_URL: no such setting; did you mean"),
        ("run", {"ingress_port": "70000"}, "REDEMPTIONS_INGRESS_PORT"),
        ("run", {"session_timeout": "soon"}, "REDEMPTIONS_SESSION_TIMEOUT"),
        ("ingress", {"webhook_secrets": None}, "REDEMPTIONS_WEBHOOK_SECRETS"),
        ("worker", {"database_url": "mysql://db/x"}, "sqlite:///"),
        ("worker", {"database_url": "sqlite:////no/such/place/x.db"}, "/no/such/place"),
        ("worker", {"handlers": "no.such:Handler"}, "no.such:Handler"),
        ("worker", {}, "redemptions db upgrade"),
    ],
    ids=str,
)
def test_wrong_settings_end_the_start_at_once(
    site: Site, command: str, settings: dict[str, object], told: str
) -> None:
    given = {name if name.islower() else f"REDEMPTIONS_{name}": value for name, value in settings.items()}
    assert told in one_line(site.ask_with(given, command))


@pytest.mark.parametrize("command", ["run", "worker", "ingress"])
def test_a_file_in_place_of_the_data_dir_ends_the_start_at_once(site: Site, command: str) -> None:
    site.data_dir.write_text("not a directory")
    assert f"{site.data_dir} (a file is in its place)" in one_line(site.ask(command))


@pytest.mark.parametrize("setting", ["ingress_port", "admin_port"])
def test_a_port_in_use_ends_the_start_at_once(site: Site, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = one_line(site.ask_with({"admin_port": free_port(), setting: port}, "run"))
    assert f"cannot listen on 127.0.0.1:{port}" in told


@pytest.mark.postgres
def test_a_refused_password_ends_the_start_at_once(site: Site, own_postgres: OwnPostgres) -> None:
    own_postgres.demand_password("guest", "right")
    answer = site.ask_with({"database_url": own_postgres.url("postgres", "guest", "wrong")}, "worker")
    assert "password authentication failed" in one_line(answer)
    assert "wrong" not in answer.err.replace("what is wrong", "")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"database_url": f"postgresql://me:hunter2222@{NOWHERE}/x"}, "database"),
        ({"kafka_bootstrap_servers": NOWHERE}, "log"),
    ],
    ids=["database", "kafka"],
)
def test_who_does_not_answer_is_waited_for_until_the_start_timeout(
    site: Site, settings: dict[str, object], what: str
) -> None:
    answer = site.ask_with({"start_timeout": 2} | settings, "run")
    assert answer.code == 1
    first, *_, last = answer.err.splitlines()
    assert f"what={what}" in first
    assert "waiting_to_start" in first
    assert last.startswith(f"redemptions: gave up waiting for the {what} after 2 s: ")
    assert "Traceback" not in answer.err
    assert "hunter" not in answer.err


def test_a_signal_ends_a_start_that_waits(site: Site) -> None:
    waiting = site.start("worker", database_url=f"postgresql://{NOWHERE}/x")
    assert waiting.probe_until_answered("live") == 200
    assert waiting.probe("ready") == 503
    assert waiting.stop() == 0


def test_a_demo_secret_is_made_once_and_shown_with_a_command_to_try(make_site: MakeSite) -> None:
    site = make_site(webhook_secrets=None)
    first = site.start("run").wait_ready()
    first.stop()
    second = site.start("run").wait_ready()
    assert first.out == second.out
    (secret,) = [line.split()[-1] for line in first.out.splitlines() if "Demo secret" in line]
    assert secret != SECRET
    example = Path(__file__).parents[2] / "examples" / "customer.redemption.succeeded.json"
    assert site.execute("send", str(example)).code == 0
    site.wait_idle()
    assert secret not in first.err + second.err


def test_every_command_is_named_in_the_help(site: Site) -> None:
    answer = site.execute("--help")
    assert answer.code == 0
    for name in COMMANDS:
        assert f" {name} " in answer.out, name


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["statsu"], "did you mean status?"),
        (["ledger", "balanc"], "balanc"),
        (["run", "--fast"], "--fast"),
        (["ledger", "balance"], "customer"),
    ],
    ids=str,
)
def test_wrong_use_is_told_in_one_line_and_ends_with_2(site: Site, arguments: list[str], told: str) -> None:
    answer = site.ask(*arguments)
    assert told in one_line(answer)
    assert answer.code == 2


@pytest.mark.parametrize(
    "question",
    ["status", "ledger balance x", "ledger entries", "ledger totals", "ledger verify", "effects show r_1",
     "dead-letters list", "dead-letters show x", "dead-letters replay --all"],
)  # fmt: skip
@pytest.mark.parametrize("prepared", [False, True], ids=["no data dir", "an empty one"])
def test_questions_before_there_is_anything_are_told_what_to_do(
    site: Site, question: str, prepared: bool
) -> None:
    if prepared:
        site.data_dir.mkdir()
    assert "redemptions db upgrade" in one_line(site.ask(*question.split()))
    assert not (site.data_dir / "store.db").exists()
