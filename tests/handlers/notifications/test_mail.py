"""E-mail through a real SMTP server: encryption, login, what a server may answer, and hostile payloads."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from events.event import RedemptionEvent
from events.failures import Refused, Unavailable
from handlers.protocol import Skipped
from tests.handlers.deliveries import a_sale, with_body
from tests.handlers.notifications.desk import Desk
from tests.handlers.notifications.postmaster import Postmaster, mail, served

RULE = '\n[[rules]]\nname = "redeemed"\non = "succeeded"\nchannel = "mail"\n'
KEY = "notify:default:succeeded:r_1:mail:redeemed"


@pytest.fixture
def postmaster() -> Postmaster:
    return Postmaster()


@pytest.fixture
async def plain(postmaster: Postmaster) -> AsyncIterator[int]:
    async with served(postmaster) as port:
        yield port


@pytest.fixture
async def starttls(postmaster: Postmaster, tls: ssl.SSLContext) -> AsyncIterator[int]:
    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        fits = isinstance(data, LoginPassword) and (data.login, data.password) == (b"shop", b"hunter2")
        return AuthResult(success=fits, handled=False)

    async with served(
        postmaster, tls_context=tls, require_starttls=True, auth_required=True, authenticator=authenticate
    ) as port:
        yield port


@pytest.fixture
async def over_tls(postmaster: Postmaster, tls: ssl.SSLContext) -> AsyncIterator[int]:
    async with served(postmaster, tls) as port:
        yield port


def sold(redemption: str = "r_1", **customer: Any) -> RedemptionEvent:
    event = a_sale(redemption, total=10349, total_discount_amount=1150)
    data = json.loads(event.body)
    data["customer"] |= {"name": "Anna Example", "email": "anna@example.com"} | customer
    data["voucher"]["code"] = "SPRING-2024-hOg"
    return with_body(event, data)


async def test_a_mail_of_our_own_words(sqlite_desk: Desk, plain: int, postmaster: Postmaster) -> None:
    more = 'reply_to = "help@example.com"\nunsubscribe = "https://shop.example/unsubscribe"'
    async with sqlite_desk.open(mail(plain, more=more) + RULE):
        await sqlite_desk.post(sold())
        assert await sqlite_desk.tell(sold()) is None
    (got,) = postmaster.mails
    assert postmaster.recipients == [["anna@example.com"]]
    assert got["From"] == "Shop <shop@example.com>"
    assert got["To"] == "Anna Example <anna@example.com>"
    assert got["Subject"] == "Your code was used"
    assert got["Idempotency-Key"] == got["webhook-id"] == KEY
    assert got["List-Unsubscribe"] == "<https://shop.example/unsubscribe>"
    assert got["Reply-To"] == "help@example.com"
    assert got["Auto-Submitted"] == "auto-generated"
    assert got.get_content().replace("\r\n", "\n") == (
        "Hello Anna,\n\nyour code SPRI*** was used.\nYou saved $11.50.\nYour order comes to $103.49.\n"
        "103 points, balance 103.\n"
    )


async def test_the_same_message_has_the_same_id_for_ever(
    sqlite_desk: Desk, plain: int, postmaster: Postmaster
) -> None:
    postmaster.answers = ["break"]
    async with sqlite_desk.open(mail(plain) + RULE):
        with pytest.raises(Unavailable) as failure:
            await sqlite_desk.tell(sold())
        assert failure.value.sent
        assert await sqlite_desk.tell(sold(), number=2) is None
        assert await sqlite_desk.tell(sold("r_2")) is None
    first, second, other = (got["Message-ID"] for got in postmaster.mails)
    assert first == second != other


async def test_html_is_escaped_and_amounts_are_the_customers(
    sqlite_desk: Desk, plain: int, postmaster: Postmaster
) -> None:
    text = """
[people]
locale = "metadata.language"
[money]
currency = "EUR"
[templates.redeemed]
subject = "{{ customer.name }}: {{ order.total_amount | money }}"
text = "{{ customer.name }}"
html = "<p>{{ customer.name }} {{ order.total_amount | money }}</p>"
"""
    event = sold(name="<b>Anna</b> & Co", metadata={"language": "de-DE"})
    async with sqlite_desk.open(mail(plain) + RULE + text):
        assert await sqlite_desk.tell(event) is None
    (got,) = postmaster.mails
    plain_body, html = got.get_body(("plain",)), got.get_body(("html",))
    assert plain_body is not None
    assert html is not None
    assert html.get_content().strip() == "<p>&lt;b&gt;Anna&lt;/b&gt; &amp; Co 103,49\xa0€</p>"
    assert plain_body.get_content().strip() == "<b>Anna</b> & Co"
    assert got["Subject"] == "<b>Anna</b> & Co: 103,49 €"


async def test_starttls_with_a_login(
    sqlite_desk: Desk,
    starttls: int,
    postmaster: Postmaster,
    ca_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2")
    more = f'username = "shop"\npassword_env = "SMTP_PASSWORD"\nca_file = "{ca_file}"'
    async with sqlite_desk.open(mail(starttls, "starttls", more) + RULE):
        assert await sqlite_desk.tell(sold()) is None
    assert postmaster.encrypted == [True]
    monkeypatch.setenv("SMTP_PASSWORD", "wrong")
    async with sqlite_desk.open(mail(starttls, "starttls", more) + RULE):
        with pytest.raises(Unavailable, match="lets nobody in"):
            await sqlite_desk.tell(sold())


async def test_tls_from_the_first_byte(
    sqlite_desk: Desk, over_tls: int, postmaster: Postmaster, ca_file: Path
) -> None:
    async with sqlite_desk.open(mail(over_tls, "tls", f'ca_file = "{ca_file}"') + RULE):
        assert await sqlite_desk.tell(sold()) is None
    assert len(postmaster.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_server_nobody_vouches_for_gets_nothing(
    sqlite_desk: Desk, starttls: int, over_tls: int, postmaster: Postmaster, security: str
) -> None:
    port = starttls if security == "starttls" else over_tls
    async with sqlite_desk.open(mail(port, security) + RULE):
        with pytest.raises(Unavailable) as failure:
            await sqlite_desk.tell(sold())
    assert not failure.value.sent
    assert postmaster.mails == []


async def test_without_starttls_nothing_goes_in_clear(
    sqlite_desk: Desk, plain: int, postmaster: Postmaster
) -> None:
    async with sqlite_desk.open(mail(plain, "starttls") + RULE):
        with pytest.raises(Unavailable):
            await sqlite_desk.tell(sold())
    assert postmaster.mails == []


@pytest.mark.parametrize(
    ("place", "answer", "fate", "sent"),
    [
        ("rcpt", "550 no such user", Refused, None),
        ("rcpt", "450 mailbox busy", Unavailable, False),
        ("answers", "554 spam", Refused, None),
        ("answers", "451 later", Unavailable, False),
    ],
)
async def test_the_servers_answer_decides(
    sqlite_desk: Desk,
    plain: int,
    postmaster: Postmaster,
    place: str,
    answer: str,
    fate: type[Exception],
    sent: bool | None,
) -> None:
    getattr(postmaster, place).append(answer)
    async with sqlite_desk.open(mail(plain) + RULE):
        with pytest.raises(fate) as failure:
            await sqlite_desk.tell(sold())
        assert getattr(failure.value, "sent", None) is sent
        assert "anna" not in str(failure.value)
        assert await sqlite_desk.tell(sold()) is None


HOSTILE = [
    "anna@example.com\r\nBcc: mallory@example.com",
    "anna@example.com\nX: y",
    "anna@example.com, mallory@example.com",
    "<anna@example.com>",
    "Anna <anna@example.com>",
    "anna@example.com\x00",
    "anna@exämple.com",
    "anna",
    "@",
    "a" * 250 + "@example.com",
    "anna@example.com>\r\nRCPT TO:<mallory@example.com",
    42,
    ["anna@example.com"],
]


@pytest.mark.parametrize("address", HOSTILE)
async def test_what_is_no_address_gets_no_mail(
    sqlite_desk: Desk, plain: int, postmaster: Postmaster, address: Any
) -> None:
    async with sqlite_desk.open(mail(plain) + RULE):
        assert await sqlite_desk.tell(sold(email=address)) == Skipped("unfit_address")
        assert await sqlite_desk.tell(sold(email=None)) == Skipped("no_address")
    assert postmaster.mails == []


async def test_no_text_of_a_payload_becomes_a_header(
    sqlite_desk: Desk, plain: int, postmaster: Postmaster
) -> None:
    hostile = 'Anna"\r\nBcc: mallory@example.com\r\n\r\n.\r\nMAIL FROM:<x@example.com>\u2028\x85Bcc: y@z'
    text = '[templates.redeemed]\nsubject = "{{ customer.name }}"\ntext = "{{ customer.name }}\\n.\\nend"\n'
    async with sqlite_desk.open(mail(plain) + RULE + text):
        assert await sqlite_desk.tell(sold(name=hostile)) is None
    (got,) = postmaster.mails
    assert postmaster.recipients == [["anna@example.com"]]
    assert got["Bcc"] is None
    assert got["To"].addresses[0].addr_spec == "anna@example.com"
    assert got.get_content().rstrip().endswith("\r\n.\r\nend")


async def test_staff_get_their_mail_at_the_addresses_of_the_file(
    sqlite_desk: Desk, plain: int, postmaster: Postmaster
) -> None:
    more = 'staff = ["a@example.com", "b@example.com"]\nconsent = "metadata.no"'
    async with sqlite_desk.open(mail(plain, more=more) + RULE + 'to = "staff"\nmin_discount = 1000'):
        assert await sqlite_desk.tell(sold()) is None
        assert not sqlite_desk.handler.wants(a_sale(total=5, total_discount_amount=999))
    assert postmaster.recipients == [["a@example.com", "b@example.com"]]
    assert "Redemption r_1: code SPRI***" in " ".join(postmaster.mails[0].get_content().split())


async def test_a_server_that_says_nothing_is_given_up(sqlite_desk: Desk) -> None:
    hung = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        hung.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = (
        f'[channels.mail]\ntype = "email"\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
        'sender = "shop@example.com"\ntimeout = 0.2\n'
    )
    async with server, sqlite_desk.open(text + RULE):
        with pytest.raises(Unavailable) as failure:
            await sqlite_desk.tell(sold())
        await hung.wait()
    assert not failure.value.sent


@pytest.mark.parametrize(
    ("keys", "to", "told"),
    [
        ("", "customer", False),
        ("", "holder", False),
        ("", "staff", True),
        ("max_age = 3e8", "customer", True),
        ("max_age = 60", "staff", False),
    ],
)
async def test_a_letter_to_a_person_is_about_the_last_day_unless_the_file_says_otherwise(
    sqlite_desk: Desk, plain: int, postmaster: Postmaster, keys: str, to: str, told: bool
) -> None:
    event = sold()
    bert = {"id": "bert", "email": "bert@example.com"}
    data = json.loads(event.body) | {
        "redemption": {"id": "r_1", "date": "2024-03-13T17:35:58Z"},
        "holder": bert,
    }
    text = mail(plain, more='staff = ["boss@example.com"]') + RULE + f'to = "{to}"\n{keys}\n'
    async with sqlite_desk.open(text):
        answer = await sqlite_desk.tell(with_body(event, data))
    assert answer == (None if told else Skipped("too_old"))
    assert len(postmaster.mails) == told
