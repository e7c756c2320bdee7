"""`db`, `topics`, `doctor`: preparing a deployment, and finding out what it lacks."""

from tests.end_to_end.processes import Site


def test_an_upgrade_makes_the_schema_once(site: Site) -> None:
    assert site.ask("db", "upgrade").out == "upgraded from nothing to 0001\n"
    assert site.ask("db", "upgrade").out == "nothing to do: the schema is at 0001\n"


def test_topics_are_made_once(site: Site) -> None:
    assert site.ask("topics", "ensure").out.splitlines() == [
        "created redemptions.events with 12 partitions",
        "created redemptions.dead-letters with 12 partitions",
    ]
    assert site.ask("topics", "ensure").out == "nothing to do\n"


def test_the_doctor_says_what_to_do_until_nothing_is_wrong(site: Site) -> None:
    sick = site.ask_with({"webhook_secrets": None}, "doctor", "--json")
    assert sick.code == 1
    problems = {check["check"]: " ".join(check["problems"]) for check in sick.json if not check["ok"]}
    assert problems.keys() == {"secrets", "topics", "database"}
    assert "REDEMPTIONS_WEBHOOK_SECRETS" in problems["secrets"]
    assert "redemptions topics ensure" in problems["topics"]
    assert "redemptions db upgrade" in problems["database"]
    assert sick.err == ""

    site.ask("topics", "ensure")
    site.ask("db", "upgrade")
    well = site.ask("doctor")
    assert well.code == 0, well
    assert "WRONG" not in well.out
