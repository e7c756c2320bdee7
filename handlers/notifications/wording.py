"""What is said where a file has no template of its own: English, short, nothing but facts."""

from handlers.notifications.addresses import one_line
from handlers.notifications.message import Message
from handlers.notifications.templates import render

PEOPLE = """\
{% if person.first_name %}
Hello {{ person.first_name }},

{% endif %}
"""
POINTS = """\
{% if points %}
{{ points | number }} points, balance {{ balance | number }}.
{% endif %}
"""
TEXTS = {
    ("succeeded", "customer"): PEOPLE
    + """\
{% if voucher.code %}
your code {{ voucher.code }} was used.
{% else %}
your redemption was booked.
{% endif %}
{% if order.total_discount_amount %}
You saved {{ order.total_discount_amount | money }}.
{% endif %}
{% if order.total_amount is not none %}
Your order comes to {{ order.total_amount | money }}.
{% endif %}
"""
    + POINTS,
    ("succeeded", "holder"): PEOPLE + "somebody has used your code {{ voucher.code }}.\n" + POINTS,
    ("rolled_back", "customer"): PEOPLE + "a redemption of {{ date | date }} was cancelled.\n" + POINTS,
    ("rolled_back", "holder"): PEOPLE + "the use of your code {{ voucher.code }} was cancelled.\n" + POINTS,
    ("succeeded", "staff"): """\
Redemption {{ redemption_id }}: code {{ voucher.code or "none" }}, campaign {{ campaign.name or "none" }}, \
discount {{ order.total_discount_amount | money or "none" }}, \
total {{ order.total_amount | money or "unknown" }}, \
points {{ points | number or "none" }}, customer {{ customer_id or "unknown" }}.
""",
    ("rolled_back", "staff"): """\
Redemption {{ redemption_id }} was rolled back{{ ": " ~ reason if reason else "" }}; \
points {{ points | number or "none" }}, customer {{ customer_id or "unknown" }}.
""",
}
SUBJECTS = {"succeeded": "Your code was used", "rolled_back": "A redemption was cancelled"}


def text_of(message: Message, escaping: str) -> str:
    """The plain text, by the template or in our own words. Raises Refused."""
    source = message.template.text if message.template else None
    own = TEXTS[message.kind, message.rule.to]
    return render(own if source is None else source, escaping, message.variables).strip()


def subject_of(message: Message) -> str:
    """One line. Raises Refused."""
    source = message.template.subject if message.template else None
    own = SUBJECTS[message.kind]
    return one_line(render(own if source is None else source, "text", message.variables))
