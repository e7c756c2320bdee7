"""Notifications by real processes: what was there before them, and what is told through storms and kills."""

import random
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.end_to_end.arming import Kill
from tests.end_to_end.channels import Channels, channels
from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.postgres import OwnPostgres
from tests.end_to_end.processes import Site
from tests.end_to_end.traffic import Sender, sale, undone
from tests.events.payloads import body
from tests.handlers.notifications.receiver import OK

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


KILLS = [
    Kill("handlers.notifications.webhook:HttpCarrier.send", "before", 2),
    Kill("handlers.notifications.webhook:HttpCarrier.send", "after", 3),
    Kill("handlers.notifications.mail:MailCarrier.send", "after"),
    Kill("storage.notification_calls:lock_calls", "after", 3),
    Kill("storage.notification_calls:note_calls", "before", 3),
    Kill("storage.notification_calls:note_calls", "after", 3),
    Kill("handlers.notifications.handler:Notifications.run", "after", 2),
]
BUSY = "HTTP/1.1 429 Slow Down\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
HTTP_TROUBLE = [500, 502, 503, 504, 408, 425, BUSY, "reset", "lost", "hang", "hang_taken"]
SMTP_TROUBLE = ["421 closing", "451 try later", "452 full", "break"]


def storm(told: Channels, seed: int) -> None:
    chance = random.Random(seed)

    def some(trouble: Sequence[int | str], fine: str, count: int) -> list[Any]:
        return [chance.choice(trouble) if chance.random() < 0.4 else fine for _ in range(count)]

    told.crm.answers = some(HTTP_TROUBLE, OK, 40)
    told.staff.answers = some(HTTP_TROUBLE, OK, 30)
    told.mail.answers = some(SMTP_TROUBLE, "250 OK", 30)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    """A site on the embedded log, and on either database."""
    if request.param == "sqlite":
        return make_site()
    postgres: OwnPostgres = request.getfixturevalue("own_postgres")
    return make_site(database_url=postgres.create(f"notified_{uuid.uuid4().hex[:12]}"))


@pytest.mark.timeout(240)
def test_killed_at_each_step_of_a_storm_every_channel_has_accepted_each_key(
    either: Site, told: Channels
) -> None:
    site = either
    file = site.directory / "notifications.toml"
    file.write_text(told.policy)
    site.set(notifications_policy=file)
    door = site.start("ingress").wait_ready()
    Sender(site.url).send(BODIES)
    assert door.stop() == 0
    storm(told, seed=5)
    for kill in KILLS:
        assert site.start("run", kill=kill).wait_end() == -9, f"{kill} was never reached"
    running = site.start("run")
    site.wait_idle(120)
    for channel, expected in ((told.crm, CRM), (told.staff, STAFF), (told.mail, MAIL)):
        assert set(channel.taken) == expected
        # One effect at a time, its channels at once: at each kill one call of each was in flight at most.
        assert len(channel.taken) - len(expected) <= channel.lost + len(KILLS)
    assert (set(told.crm.keys), set(told.staff.keys)) == (CRM, STAFF)
    assert site.told("dead-letters", "list") == []
    assert site.told("status")["effects"]["pending"] == 0
    assert running.stop() == 0


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
