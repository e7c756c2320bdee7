"""Slack's incoming webhooks and the log: hostile texts, and what each tells."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from events.event import RedemptionEvent
from tests.handlers.deliveries import a_sale, with_body
from tests.handlers.notifications.desk import Desk
from tests.handlers.notifications.receiver import Receiver

RULE = '\n[[rules]]\nname = "large"\non = "succeeded"\nto = "staff"\nchannel = "team"\n'
KEY = "notify:default:succeeded:r_1:team:large"


def slack(url: str) -> str:
    return f'[channels.team]\ntype = "slack"\nurl = "{url}"\n'


def template(text: str) -> str:
    return f"[templates.large]\ntext = '''{text}'''\n"


def sold(**data: Any) -> RedemptionEvent:
    event = a_sale(total=10349, total_discount_amount=1150)
    return with_body(event, json.loads(event.body) | data)


async def test_slack_gets_a_text_and_the_key(sqlite_desk: Desk, receiver: Receiver) -> None:
    async with sqlite_desk.open(slack(receiver.url) + RULE) as desk:
        assert await desk.tell(sold(voucher={"code": "SPRING-2024", "campaign": "Spring"})) is None
    (request,) = receiver.requests
    assert request.headers["idempotency-key"] == request.headers["webhook-id"] == KEY
    assert request.json == {
        "text": "Redemption r_1: code SPR***, campaign Spring, discount $11.50, total $103.49, points none, "
        "customer anna."
    }


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("A & B <c>", "A &amp; B &lt;c&gt;"),
        ("<!channel> <!here> <@U024BE7LH>", "&lt;!channel&gt; &lt;!here&gt; &lt;@U024BE7LH&gt;"),
        ("<https://evil.example|your bank>", "&lt;https://evil.example|your bank&gt;"),
        ("&lt;!channel&gt;", "&amp;lt;!channel&amp;gt;"),
        ("line\r\nbreak\x00\x1b[31m", "line  break  [31m"),
        ("{{ 7 * 7 }} {% for x in y %}", "{{ 7 * 7 }} {% for x in y %}"),
        ("\u202eevil\u2069 twin", " evil  twin"),
    ],
)
async def test_no_text_of_a_payload_is_markup_or_a_mention(
    sqlite_desk: Desk, receiver: Receiver, given: str, shown: str
) -> None:
    text = template("<!here> {{ customer.name }}|{{ customer.metadata.note }}") + slack(receiver.url) + RULE
    customer = {"id": "anna", "name": given, "metadata": {"note": given}}
    async with sqlite_desk.open(text) as desk:
        assert await desk.tell(sold(customer=customer)) is None
    # What the template's own author wrote is meant.
    assert receiver.requests[0].json["text"] == f"<!here> {shown}|{shown}"


async def test_the_log_has_ids_and_figures_and_nobodys_name(sqlite_desk: Desk) -> None:
    event = sold(customer={"id": "anna", "name": "Anna Example", "email": "anna@example.com"})
    async with sqlite_desk.open('[channels.team]\ntype = "log"\n' + RULE) as desk:
        await desk.post(event)
        with capture_logs() as lines:
            assert await desk.tell(event) is None
    assert [line for line in lines if line["event"] == "notification"] == [
        {
            "event": "notification",
            "log_level": "info",
            "key": KEY,
            "rule": "large",
            "kind": "succeeded",
            "redemption_id": "r_1",
            "customer_id": "anna",
            "order_id": "ord_1",
            "points": 103,
            "balance": 103,
        }
    ]
    assert "Example" not in str(lines)


async def test_the_log_has_the_templates_text(sqlite_desk: Desk) -> None:
    text = template("{{ customer.name }}: {{ order.total_amount | money }}")
    async with sqlite_desk.open(text + '[channels.team]\ntype = "log"\n' + RULE) as desk:
        with capture_logs() as lines:
            assert await desk.tell(sold(customer={"id": "anna", "name": "A\nforged line"})) is None
    assert lines[-1]["text"] == "A forged line: $103.49"
