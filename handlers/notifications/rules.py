"""Which rules an event meets. Quick and pure: asked for every event that is read."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from events.event import Kind, RedemptionEvent
from handlers.loyalty.details import payload_of
from handlers.notifications.content import campaign_of, order_amount
from handlers.notifications.people import customer_of, first_word, holder_of, table
from handlers.notifications.policy import Rule


class Rules:
    """The rules by the kind of event they are for."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_kind: dict[Kind, list[Rule]] = defaultdict(list)
        for rule in rules:
            self._by_kind[rule.kind].append(rule)
        self.kinds = frozenset(self._by_kind)
        self._settle = {id(rule): seconds for rule in rules if (seconds := _settle(rule, rules))}
        self._always = frozenset(
            kind for kind, some in self._by_kind.items() if any(not _conditional(rule) for rule in some)
        )

    def settle(self, rule: Rule) -> float | None:
        """Seconds that its messages wait. What takes a message back waits as long as that message."""
        return self._settle.get(id(rule))

    def undone_by(self, rule: Rule, event: RedemptionEvent) -> list[Rule]:
        """The messages that a rollback's message would take back, had they been sent."""
        told = self.met(event, Kind.SUCCEEDED)
        return [one for one in told if one.settle is not None and _same_way(one, rule)]

    def only_channel(self, event: RedemptionEvent) -> str | None:
        """Where all that is told of an event goes; None: to several."""
        some = self._by_kind.get(event.kind, [])
        channels = {rule.channel for rule in some}
        if len(channels) > 1:
            channels = {rule.channel for rule in self.met(event)}
        return next(iter(channels)) if len(channels) == 1 else None

    def any_met(self, event: RedemptionEvent) -> bool:
        return event.kind in self._always or bool(self.met(event))

    def met(self, event: RedemptionEvent, kind: Kind | None = None) -> list[Rule]:
        """In the file's order. `kind`: another than the event's own, such as the success that it undoes."""
        rules = self._by_kind.get(kind or event.kind, [])
        if not any(_conditional(rule) for rule in rules):
            return rules
        payload = payload_of(event)  # the whole body is read only where a condition needs it
        return [rule for rule in rules if _meets(payload, rule)]


def _settle(rule: Rule, rules: Sequence[Rule]) -> float | None:
    if rule.kind is not Kind.ROLLED_BACK:
        return rule.settle
    told = [one.settle for one in rules if one.kind is Kind.SUCCEEDED and _same_way(one, rule)]
    return max((seconds for seconds in (rule.settle, *told) if seconds is not None), default=None)


def _same_way(one: Rule, other: Rule) -> bool:
    return (one.channel, one.to) == (other.channel, other.to)


def _conditional(rule: Rule) -> bool:
    return bool(rule.campaigns or rule.voucher_types or rule.holder_used or rule.min_discount is not None)


def _meets(payload: dict[str, Any], rule: Rule) -> bool:
    if rule.campaigns and not set(rule.campaigns) & set(campaign_of(payload).values()):
        return False
    if rule.voucher_types and _voucher_type(payload) not in rule.voucher_types:
        return False
    if rule.min_discount is not None:
        discount = order_amount(payload, "total_discount_amount")
        if discount is None or discount < rule.min_discount:
            return False
    if rule.holder_used:
        holder, customer = holder_of(payload)[0], customer_of(payload)[0]
        return holder is not None and holder != customer
    return True


def _voucher_type(payload: dict[str, Any]) -> str | None:
    places = table(payload, "voucher"), table(table(payload, "redemption"), "voucher")
    return first_word(*(voucher.get("type") for voucher in places))
