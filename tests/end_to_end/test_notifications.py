"""Notifications by real processes: what was there before them, and what is told through storms and kills."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.channels import Channels, channels
from tests.end_to_end.processes import Site
from tests.end_to_end.traffic import Sender, sale, undone
from tests.events.payloads import body

SALES = [f"r_note{number}" for number in range(12)]
UNDONE = SALES[:4]


def told_by_mail(redemption: str) -> bytes:
    data = sale(redemption, f"cust_{redemption}")
    data["customer"]["email"] = f"{redemption}@example.com"
    return body(data)


BODIES = [
    *map(told_by_mail, SALES),
    *(body(undone(redemption, f"cust_{redemption}")) for redemption in UNDONE),
]


@pytest.fixture
def told() -> Iterator[Channels]:
    with channels() as opened:
        yield opened


def keys(channel: str, template: str, redemptions: list[str], kind: str = "succeeded") -> set[str]:
    return {f"notify:default:{kind}:{redemption}:{channel}:{template}" for redemption in redemptions}


CRM = keys("crm", "redeemed", SALES) | keys("crm", "undone", UNDONE, "rolled_back")
STAFF = keys("staff", "large", SALES)
MAIL = keys("mail", "thanks", SALES)


def test_a_backfill_tells_what_happened_before_there_were_rules(site: Site, told: Channels) -> None:
    running = site.start("run").wait_ready()
    Sender(site.url).send(BODIES)
    site.wait_idle()
    file = site.directory / "notifications.toml"
    file.write_text(told.policy)
    fill = ("backfill", "--handler", "notifications", "--from", "2020-01-01", "--json")
    for results in ({"pending": len(BODIES)}, {"duplicate": len(BODIES)}):
        answer = site.ask_with({"notifications_policy": file}, *fill)
        assert answer.code == 0, answer
        assert (answer.json["results"], answer.json["pending"]) == (results, 0)
        assert (set(told.crm.taken), set(told.staff.taken), set(told.mail.taken)) == (CRM, STAFF, MAIL)
    assert (len(told.crm.taken), len(told.mail.taken)) == (len(CRM), len(MAIL))
    assert told.crm.bodies[0]["points"] is not None
    assert running.stop() == 0
