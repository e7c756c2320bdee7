"""What must be true of a site whatever happened to it, as an operator can ask about it."""

from tests.end_to_end.processes import Site
from tests.end_to_end.traffic import Traffic


def assert_all_is_right(site: Site, load: Traffic) -> None:
    site.wait_idle()
    assert site.balances() == load.balances
    assert site.told("ledger", "verify") == []
    letters = site.told("dead-letters", "list")
    # A body that was sent again after a lost answer is a record, and so a letter, of its own; one record
    # never has two.
    assert len(letters) >= load.malformed
    assert len({(letter["partition"], letter["offset"]) for letter in letters}) == len(letters)
    assert {letter["handler"] for letter in letters} <= {None}
    status = site.told("status")
    assert status["lag"] == status["effects"]["pending"] == status["effects"]["dead"] == 0
