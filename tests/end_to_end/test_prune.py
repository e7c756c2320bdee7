"""`prune` beside a running deployment: what is closed goes, what is open stays, and the audit tells."""

from tests.end_to_end.processes import Site
from tests.end_to_end.traffic import Sender

NOTHING = {"letters": 0, "records": 0, "job_items": 0}


def test_closed_letters_go_while_the_worker_works(site: Site) -> None:
    running = site.start("run").wait_ready()
    Sender(site.url).send([b'{"torn', b"[1]"])
    site.wait_idle()
    first, second = site.told("dead-letters", "list")
    assert site.told("prune", "--older-than", "0") == NOTHING | {"dry_run": False}
    site.told("dead-letters", "replay", first["id"])
    site.wait_idle()  # it dies again, and is open again
    dry = site.told("prune", "--older-than", "0", "--dry-run")
    assert dry == NOTHING | {"job_items": 1, "dry_run": True}  # the result of the replay, which has ended
    assert {letter["id"] for letter in site.told("dead-letters", "list")} == {first["id"], second["id"]}
    assert site.ask("prune").out == "0 dead letters, 0 results of jobs and 0 records removed\n"
    deeds = [deed for deed in site.told("audit", "list") if deed["action"] == "prune"]
    assert [deed["outcome"] for deed in deeds] == ["done", "done"]
    assert site.ask("prune", "--older-than", "-1").code == 2
    assert running.stop() == 0
