"""`contract drift`: what was delivered beyond the documented contract, without a word about anybody."""

from tests.end_to_end.processes import Site


def test_what_is_undocumented_is_shown_with_the_structure_of_its_delivery(filled: Site) -> None:
    (drift,) = filled.told("contract", "drift")
    assert (drift["kind"], drift["place"], drift["seen"]) == ("key", "data", "wallet")
    assert (drift["tenant"], drift["topic"]) == ("default", "redemptions.events")
    assert drift["structure"]["wallet"] == {"owner": "string"}
    assert drift["first_seen"].endswith("Z")


def test_people_see_the_same_in_lines(filled: Site) -> None:
    answer = filled.ask("contract", "drift")
    assert answer.code == 0
    assert "key         data  wallet  redemptions.events" in answer.out
    assert "Anna" not in answer.out


def test_how_often_is_in_the_metrics(filled: Site) -> None:
    expected = 'redemptions_contract_drift_total{kind="key",place="data",seen="wallet"} 1.0'
    assert expected in filled.metrics()
