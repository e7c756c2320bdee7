"""To whom a message goes, and what the payload tells of their address, language, zone and consent. Pure."""

from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from events.ids import LONGEST_ID
from handlers.loyalty.readings import word_of
from handlers.notifications.policy import Channel, People, To
from handlers.notifications.templates import known_locale
from handlers.notifications.timing import known_zone

YES = frozenset({"true", "yes", "1"})


class Person(NamedTuple):
    """A customer, a code's holder, or (without id and fields) the staff."""

    id: str | None
    fields: dict[str, Any]
    locale: str
    zone: str

    @property
    def clock(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def consents(self, channel: Channel) -> bool:
        """Whether a channel that asks for consent has it: silence is none."""
        if channel.consent is None:
            return True
        value = found(self.fields, channel.consent)
        return value is True or str(value).strip().lower() in YES


def person_of(payload: dict[str, Any], to: To, people: People) -> Person | None:
    """None: the payload tells of no holder."""
    if to == "staff":
        return Person(None, {}, people.default_locale, people.default_zone)
    id, fields = holder_of(payload) if to == "holder" else customer_of(payload)
    if to == "holder" and id is None and not fields:
        return None
    locale, zone = (found(fields, path) if path else None for path in (people.locale, people.zone))
    return Person(
        id,
        fields,
        (known_locale(locale) if isinstance(locale, str) else None) or people.default_locale,
        (known_zone(zone) if isinstance(zone, str) else None) or people.default_zone,
    )


def customer_of(payload: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Who redeemed: id and fields, of the first place that has them."""
    redemption, order = table(payload, "redemption"), table(payload, "order")
    places = (table(payload, "customer"), table(redemption, "customer"))
    fields = next((place for place in places if place), {})
    ids = (*(place.get("id") for place in places), redemption.get("customer_id"), order.get("customer_id"))
    rollback = table(payload, "redemption_rollback")
    return first_word(*ids, rollback.get("customer_id")), fields


def holder_of(payload: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Who owns the code."""
    fields = table(payload, "holder")
    voucher = table(payload, "voucher") or table(table(payload, "redemption"), "voucher")
    return first_word(fields.get("id"), voucher.get("holder_id")), fields


def first_word(*values: Any) -> str | None:
    return next((text for value in values if (text := word_of(value, LONGEST_ID)) is not None), None)


def table(value: dict[str, Any], key: str) -> dict[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def found(value: Any, path: str) -> Any:
    """What lies at `a.b`, where a key may itself hold dots; None if nothing does."""
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    head, _, rest = path.partition(".")
    return found(value.get(head), rest) if rest else None
