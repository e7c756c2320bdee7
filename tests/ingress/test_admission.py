"""Who may knock, and how often."""

from ipaddress import ip_network

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ingress.admission import Admission
from tests.ingress.conftest import Doors
from tests.ingress.http import post

OFFICE = (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32"))
PROXIES = (ip_network("10.0.0.0/8"),)


class Clock:
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def a_request(peer: str, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return Request({"type": "http", "client": (peer, 1), "headers": headers, "method": "POST", "path": "/"})


def admitted(peer: str, *forwarded: str) -> bool:
    try:
        Admission(OFFICE, PROXIES, None, Clock()).check(a_request(peer, *forwarded))  # type: ignore[arg-type]
    except HTTPException as refused:
        assert refused.status_code == 403
        return False
    return True


@pytest.mark.parametrize(
    ("peer", "forwarded", "welcome"),
    [
        ("203.0.113.9", (), True),
        ("::ffff:203.0.113.9", (), True),
        ("2001:db8::1", (), True),
        ("198.51.100.1", (), False),
        ("198.51.100.1", ("203.0.113.9",), False),  # says a stranger
        ("10.1.1.1", ("203.0.113.9",), True),
        ("10.1.1.1", ("203.0.113.9, 198.51.100.1",), False),  # forged to the left of the real one
        ("10.1.1.1", ("198.51.100.1", "203.0.113.9"), True),
        ("10.1.1.1", ("198.51.100.1, 203.0.113.9, 10.2.2.2",), True),
        ("10.1.1.1", ("10.2.2.2",), False),
        ("10.1.1.1", ("rubbish",), False),
        ("10.1.1.1", (), False),
        ("", (), False),
    ],
)
def test_the_sender_is_the_nearest_that_is_no_proxy_of_ours(
    peer: str, forwarded: tuple[str, ...], welcome: bool
) -> None:
    assert admitted(peer, *forwarded) is welcome


def test_over_the_rate_the_sender_is_told_to_come_back_and_then_let_in() -> None:
    clock = Clock()
    admission = Admission((), (), 2.0, clock)  # type: ignore[arg-type]
    request = a_request("198.51.100.1")
    admission.check(request)
    admission.check(request)
    with pytest.raises(HTTPException) as refused:
        admission.check(request)
    assert refused.value.status_code == 503
    assert refused.value.headers == {"retry-after": "1"}
    clock.seconds = 0.5
    admission.check(request)


def test_a_rate_below_one_a_second_still_lets_one_in() -> None:
    clock = Clock()
    admission = Admission((), (), 0.5, clock)  # type: ignore[arg-type]
    admission.check(a_request("198.51.100.1"))


async def test_the_door_turns_strangers_away_before_it_reads_their_body(doors: Doors) -> None:
    door = await doors(allowed_networks=OFFICE)
    answer = await door.ask(post(b"{}"))
    assert (answer.status, door.log.records) == (403, [])


async def test_the_door_holds_to_its_rate(doors: Doors) -> None:
    door = await doors(rate_limit=0.01)
    statuses = [(await door.ask(post(b"{}"))).status for _ in range(2)]
    assert statuses == [202, 503]
