"""`status`: counts by their documented names, and waiting until nothing is left to do."""

import json
import subprocess

from tests.end_to_end.processes import COMMAND, Site
from tests.end_to_end.traffic import Sender, sale
from tests.events.payloads import body


def test_the_answer_has_the_documented_names_and_counts(filled: Site) -> None:
    answer = filled.execute("status", "--json")
    assert json.loads(answer.out) == {
        "lag": 0,
        # The ledger's three marks, the log's two letters; what loyalty refused is dead.
        "effects": {"pending": 0, "done": 5, "dead": 1, "skipped": 0, "discarded": 0},
        "dead_letters": {"open": 2, "replayed": 0, "discarded": 0},
    }
    assert (answer.code, answer.err) == (0, "")
    assert "2 open" in filled.ask("status").out


def test_lag_counts_what_no_worker_has_taken_and_waiting_for_it_ends_with_1(site: Site) -> None:
    site.ask("db", "upgrade")
    site.start("ingress").wait_ready()
    Sender(site.url).send([body(sale(f"r_{number}", f"cust_{number}")) for number in range(3)])
    assert site.told("status")["lag"] == 3
    assert site.told("status", "--group", "redemptions")["lag"] == 3
    assert site.ask("status", "--wait-idle", "0.3").code == 1
    site.start("worker")
    assert site.ask("status", "--wait-idle", "30").code == 0
    assert site.told("status")["lag"] == 0


def test_waiting_and_asking_in_one_call_gives_the_answer_when_idle(filled: Site) -> None:
    answer = filled.ask("status", "--wait-idle", "5", "--json")
    assert (answer.code, answer.json["lag"]) == (0, 0)


def test_a_reader_who_leaves_early_hears_no_complaint(filled: Site) -> None:
    command = f"{COMMAND} ledger entries --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", command],
        env={"REDEMPTIONS_DATA_DIR": str(filled.data_dir), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "["
    assert ended.stderr == ""
