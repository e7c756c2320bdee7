"""`effects show`: everything that was done for one redemption."""

from tests.cli.filled import KEPT, REFUSED, UNDONE
from tests.end_to_end.processes import Site


def test_the_effects_of_a_redemption(filled: Site) -> None:
    assert filled.told("effects", "show", KEPT) == [
        {
            "tenant": "default",
            "handler": "loyalty",
            "kind": "succeeded",
            "state": "done",
            "attempts": 1,
            "due_at": None,
            "last_error": None,
        }
    ]
    assert [effect["kind"] for effect in filled.told("effects", "show", UNDONE)] == [
        "rolled_back",
        "succeeded",
    ]
    (refused,) = filled.told("effects", "show", REFUSED)
    assert (refused["state"], refused["last_error"]) == ("dead", "unfit_amount")


def test_an_unknown_redemption_has_none_and_the_answer_is_no(filled: Site) -> None:
    for question in (["r_unknown"], [KEPT, "--tenant", "another"]):
        answer = filled.ask("effects", "show", *question, "--json")
        assert (answer.code, answer.json, answer.err) == (1, [], "")
