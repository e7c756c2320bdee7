"""What an event's calls come to, all in all."""

import pytest

from events.failures import Away, Refused, Unavailable
from handlers.notifications.conclusion import PAUSE, Fate, conclude
from handlers.protocol import Deferred, Skipped

MORNING, SETTLING = Deferred(28_800.0, "quiet_hours"), Deferred(20.0, "settling")
REFUSED, FAULT = Refused("http_400", "answered HTTP 400"), KeyError("a slip")
BUSY, SLOW = Unavailable("http_503", "busy"), Unavailable("http_429", "slow down", retry_after=90.0)
CRM, MAIL = Away("crm"), Away("mail")
ABSENT = Skipped("no_address")


@pytest.mark.parametrize(
    ("fates", "answer"),
    [
        ([None], None),
        ([None, ABSENT], None),
        ([ABSENT, Skipped("no_consent"), ABSENT], Skipped("no_address, no_consent")),
        # What waits for its time decides, and no try is counted meanwhile.
        ([MORNING, None, REFUSED], MORNING),
        ([MORNING, SETTLING], SETTLING),
        ([MORNING, BUSY], Deferred(PAUSE, "http_503")),
        ([MORNING, SLOW], Deferred(90.0, "http_429")),
        ([SETTLING, BUSY], SETTLING),
        ([MORNING, CRM], Deferred(PAUSE, "dependency_away")),
        ([MORNING, FAULT], Deferred(PAUSE, "KeyError")),
        # Who is away must not hold up whom it pays to ask again.
        ([CRM, BUSY], Deferred(PAUSE, "http_503")),
    ],
)
def test_what_can_still_be_delivered_decides(fates: list[Fate], answer: Fate) -> None:
    assert conclude(fates) == answer


@pytest.mark.parametrize(
    ("fates", "failure"),
    [
        ([None, BUSY], BUSY),
        ([BUSY, SLOW], SLOW),
        ([BUSY, FAULT], FAULT),
        ([REFUSED, BUSY], BUSY),
        ([REFUSED, ABSENT, None], REFUSED),
        ([None, CRM], CRM),
        ([CRM, MAIL, REFUSED], CRM),
    ],
)
def test_a_refusal_is_told_when_nothing_else_is_left_to_do(fates: list[Fate], failure: Exception) -> None:
    with pytest.raises(type(failure)) as raised:
        conclude(fates)
    assert raised.value is failure
