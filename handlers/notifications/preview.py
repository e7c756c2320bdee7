"""What an event's messages would look like, rendered without sending and without a database. Pure."""

from typing import Any

import msgspec
from msgspec import Struct

from events.event import RedemptionEvent
from events.failures import Refused
from handlers.loyalty.details import payload_of
from handlers.loyalty.standing import Standing
from handlers.notifications.courier import message_of
from handlers.notifications.message import Carrier, Skip, key_of
from handlers.notifications.people import person_of
from handlers.notifications.policy import Policy
from handlers.notifications.rules import Rules


class Preview(Struct, frozen=True):
    """One rule's message; `skipped` and `refused` say why there is none."""

    rule: str
    channel: str
    to: str
    key: str
    message: dict[str, Any] | None = None
    skipped: str | None = None
    refused: str | None = None


def previews(
    event: RedemptionEvent, policy: Policy, carriers: dict[str, Carrier], standing: Standing | None = None
) -> list[Preview]:
    """In the file's order; [] when no rule is met. Time, caps and the history of a customer are left out."""
    payload = payload_of(event)
    shown = []
    for rule in Rules(policy.rules).met(event):
        about: dict[str, Any] = {
            "rule": rule.name,
            "channel": rule.channel,
            "to": rule.to,
            "key": key_of(event, rule),
        }
        person = person_of(payload, rule.to, policy.people)
        try:
            if person is None:
                raise Skip("no_holder")
            if rule.to != "staff" and not person.consents(policy.channels[rule.channel]):
                raise Skip("no_consent")
            message = message_of(policy, event, payload, rule, person, standing)
            rendered = carriers[rule.channel].render(message).shown
            shown.append(Preview(**about, message=rendered))
        except Skip as skip:
            shown.append(Preview(**about, skipped=skip.reason))
        except Refused as refused:
            shown.append(Preview(**about, refused=f"{refused.reason}: {refused}"))
    return shown


def plain(preview: Preview) -> dict[str, Any]:
    """For JSON: what is not there is left out."""
    return {name: value for name, value in msgspec.structs.asdict(preview).items() if value is not None}
