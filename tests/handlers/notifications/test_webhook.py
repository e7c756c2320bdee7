"""The webhook channel: what it sends, how it is signed, and what becomes of every kind of answer."""

import base64
import hashlib
import hmac
import json
import ssl
from pathlib import Path

import pytest

from events.failures import Refused, Unavailable
from tests.handlers.deliveries import a_sale, the_documented_rollback, the_documented_success, with_body
from tests.handlers.notifications.desk import RULE, UNDONE, Desk, webhook
from tests.handlers.notifications.receiver import Receiver, receiving

KEY = "notify:default:succeeded:r_0e6ff48b91cfa02e97:crm:redeemed"
SECRET = "whsec_" + base64.b64encode(b"a key of 24 bytes, sure.").decode()


async def test_the_default_body_has_ids_amounts_points_and_the_balance(
    desk: Desk, receiver: Receiver
) -> None:
    event = the_documented_success()
    async with desk.open(webhook(receiver.url) + RULE):
        await desk.post(event)
        assert await desk.tell(event) is None
    (request,) = receiver.requests
    assert request.headers["idempotency-key"] == request.headers["webhook-id"] == KEY
    assert "webhook-signature" not in request.headers
    told = request.json
    assert told["kind"] == "succeeded"
    assert told["redemption_id"] == "r_0e6ff48b91cfa02e97"
    assert told["customer_id"] == "cust_IdgAFZxYwwHctOk9pPuMu308"
    assert told["order"] == {
        "id": "ord_p6B1A0y805yUQQaCw4bC6Fbk",
        "source_id": None,
        "status": "PAID",
        "amount": 11499,
        "total_discount_amount": 1150,
        "total_amount": 10349,
    }
    assert told["voucher"] == {"code": "SPRI***", "type": "DISCOUNT_VOUCHER"}
    assert (told["points"], told["balance"]) == (103, 103)


async def test_a_rollback_says_what_was_taken_back(desk: Desk, receiver: Receiver) -> None:
    success, rollback = the_documented_success(), the_documented_rollback()
    async with desk.open(webhook(receiver.url) + UNDONE):
        assert not desk.handler.wants(success)
        await desk.post(success, a_sale("r_2", "cust_IdgAFZxYwwHctOk9pPuMu308", "ord_2", 500))
        await desk.post(rollback)
        assert await desk.tell(rollback) is None
    (told,) = receiver.bodies
    assert (told["kind"], told["points"], told["balance"]) == ("rolled_back", -103, 5)
    assert receiver.requests[0].key == "notify:default:rolled_back:r_0e6ff48b91cfa02e97:crm:undone"


async def test_without_an_account_there_are_no_points(desk: Desk, receiver: Receiver) -> None:
    anonymous, unknown = a_sale("r_1", customer=None, total=1000), a_sale("r_2", total=1000)
    async with desk.open(webhook(receiver.url) + RULE):
        await desk.post(anonymous)
        assert [await desk.tell(anonymous), await desk.tell(unknown)] == [None, None]
    assert [(told["points"], told["balance"]) for told in receiver.bodies] == [(None, None)] * 2


async def test_a_redemption_that_earned_nothing_is_told_too(desk: Desk, receiver: Receiver) -> None:
    sale = a_sale("r_1", total=99)
    async with desk.open(webhook(receiver.url) + RULE):
        await desk.post(sale)
        assert await desk.tell(sale) is None
    assert [(told["points"], told["balance"]) for told in receiver.bodies] == [(0, 0)]


async def test_a_secret_signs_as_standard_webhooks_asks(
    sqlite_desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_SECRETS", f"{SECRET} {SECRET}")
    async with sqlite_desk.open(webhook(receiver.url, 'secret_env = "CRM_SECRETS"') + RULE):
        await sqlite_desk.tell(the_documented_success())
    (request,) = receiver.requests
    signed = f"{KEY}.{request.headers['webhook-timestamp']}.".encode() + request.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{digest} v1,{digest}"
    assert abs(int(request.headers["webhook-timestamp"]) - sqlite_desk.clock.now()) < 60


async def test_a_template_makes_the_body_and_escapes_for_json(sqlite_desk: Desk, receiver: Receiver) -> None:
    template = """
[templates.redeemed]
json = '''{"who": "{{ customer.name }}", "paid": "{{ order.total_amount | money }}",
"all": {{ order | tojson }}}'''
"""
    event = a_sale("r_1", total=1234567)
    data = json.loads(event.body)
    data["customer"]["name"] = 'Anna "The\\Hammer"\n\x07 \u2028</script>'
    async with sqlite_desk.open(webhook(receiver.url) + RULE + template):
        await sqlite_desk.tell(with_body(event, data))
    (told,) = receiver.bodies
    assert told["who"].startswith('Anna "The\\Hammer"')
    assert told["paid"] == "$12,345.67"
    assert told["all"]["total_amount"] == 1234567


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_waiting_can_cure_is_tried_again(
    sqlite_desk: Desk, receiver: Receiver, status: int
) -> None:
    receiver.answers = [f"HTTP/1.1 {status} No\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"]
    async with sqlite_desk.open(webhook(receiver.url) + RULE):
        with pytest.raises(Unavailable) as failure:
            await sqlite_desk.tell(the_documented_success())
        assert failure.value.retry_after == 7
        assert await sqlite_desk.tell(the_documented_success(), number=2) is None
    assert receiver.keys == {KEY: 2}


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 410, 422])
async def test_what_waiting_cannot_cure_is_refused(
    sqlite_desk: Desk, receiver: Receiver, status: int
) -> None:
    elsewhere = f"location: http://localhost:{receiver.port}/elsewhere"
    receiver.answers = [f"HTTP/1.1 {status} No\r\n{elsewhere}\r\ncontent-length: 0\r\n\r\n"]
    async with sqlite_desk.open(webhook(receiver.url) + RULE):
        with pytest.raises(Refused, match=f"HTTP {status}"):
            await sqlite_desk.tell(the_documented_success())
    assert [request.path for request in receiver.requests] == ["/hooks"]


@pytest.mark.parametrize("answer", ["reset", "lost", "hang", "garbage\r\n\r\n"])
async def test_no_answer_is_tried_again(sqlite_desk: Desk, receiver: Receiver, answer: str) -> None:
    receiver.answers = [answer]
    async with sqlite_desk.open(webhook(receiver.url, "timeout = 0.2") + RULE):
        with pytest.raises(Unavailable) as failure:
            await sqlite_desk.tell(the_documented_success())
    assert failure.value.sent
    assert receiver.url not in str(failure.value)


async def test_where_nobody_listens_nothing_was_sent(sqlite_desk: Desk) -> None:
    async with sqlite_desk.open(webhook("http://127.0.0.1:1/") + RULE):
        with pytest.raises(Unavailable) as failure:
            await sqlite_desk.tell(the_documented_success())
    assert not failure.value.sent


ENDLESS = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + "4000\r\n" + "x" * 0x4000 + "\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\ncontent-length: 99999999\r\n\r\n" + "x" * 100_000,
        ENDLESS,
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_the_status_is_the_answer_whatever_the_body(
    sqlite_desk: Desk, receiver: Receiver, answer: str
) -> None:
    receiver.answers = [answer]
    async with sqlite_desk.open(webhook(receiver.url, "timeout = 0.3") + RULE):
        assert await sqlite_desk.tell(the_documented_success()) is None
        assert await sqlite_desk.tell(a_sale("r_2")) is None
    assert "cookie" not in receiver.requests[1].headers


async def test_an_id_cannot_become_another_header(sqlite_desk: Desk, receiver: Receiver) -> None:
    async with sqlite_desk.open(webhook(receiver.url) + RULE):
        await sqlite_desk.tell(a_sale('r:1 "ä" %0d%0a'))
    assert receiver.requests[0].key == "notify:default:succeeded:r%3A1 %22%C3%A4%22 %250d%250a:crm:redeemed"


async def test_headers_of_the_file_go_along(
    sqlite_desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_TOKEN", "Bearer abc")
    more = 'authorization_env = "CRM_TOKEN"\nheaders = { X-Source = "shop" }'
    async with sqlite_desk.open(webhook(receiver.url, more) + RULE):
        await sqlite_desk.tell(the_documented_success())
    headers = receiver.requests[0].headers
    assert (headers["x-source"], headers["authorization"]) == ("shop", "Bearer abc")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_target_nobody_vouches_for_gets_nothing(
    sqlite_desk: Desk, tls: ssl.SSLContext, ca_file: Path, host: str
) -> None:
    async with receiving(tls) as secured:
        url = secured.url.replace("localhost", host)
        trusting = (
            f'ca_file = "{ca_file}"' if host != "localhost" else ""
        )  # the name is not the certificate's
        async with sqlite_desk.open(webhook(url, trusting) + RULE):
            with pytest.raises(Unavailable) as failure:
                await sqlite_desk.tell(the_documented_success())
        assert not failure.value.sent
        assert secured.requests == []


async def test_a_target_that_the_file_vouches_for_is_told(
    sqlite_desk: Desk, tls: ssl.SSLContext, ca_file: Path
) -> None:
    async with receiving(tls) as secured:
        async with sqlite_desk.open(webhook(secured.url, f'ca_file = "{ca_file}"') + RULE):
            assert await sqlite_desk.tell(the_documented_success()) is None
        assert secured.taken == [KEY]


async def test_no_proxy_of_the_environment_is_asked(
    sqlite_desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with sqlite_desk.open(webhook(receiver.url) + RULE):
        assert await sqlite_desk.tell(the_documented_success()) is None
