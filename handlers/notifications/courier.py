"""One rule's call for one event: whether it may be made, when, and what came of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from events.event import Kind, RedemptionEvent
from events.failures import Refused, Unavailable
from events.ids import is_fit
from events.runtime import Runtime
from handlers.loyalty.standing import Question, Standing
from handlers.notifications.calls import Calls, Permit, Subject, Wish
from handlers.notifications.conclusion import Fate
from handlers.notifications.content import content_of, date_of, variables_of
from handlers.notifications.message import Carrier, Message, Rendered, Skip, key_of
from handlers.notifications.people import Person, person_of, table
from handlers.notifications.policy import Channel, Policy, Rule
from handlers.notifications.rules import Rules
from handlers.notifications.timing import seconds_of_quiet
from handlers.notifications.together import Together
from handlers.protocol import Attempt, Deferred, Skipped
from storage.notification_calls import CallState
from storage.schema import KIND_NUMBERS

FIRST = "first-redemption"
"""In place of a call: which redemption was a customer's first."""


class Errand(NamedTuple):
    """A rule that the event of a try meets."""

    attempt: Attempt
    payload: dict[str, Any]
    rule: Rule
    alone: bool
    """Whether the event leads to no other call: then its effect's row remembers all there is."""

    @property
    def event(self) -> RedemptionEvent:
        return self.attempt.event


class Courier:
    """Makes calls. Each is begun and ended in the table of calls where the effect's row is not enough."""

    def __init__(
        self,
        policy: Policy,
        rules: Rules,
        carriers: Mapping[str, Carrier],
        calls: Calls,
        ledger: Together[Question, Standing | None],
        runtime: Runtime,
    ) -> None:
        self._policy = policy
        self._rules = rules
        self._carriers = carriers
        self._calls = calls
        self._ledger = ledger
        self._runtime = runtime

    async def fate(self, errand: Errand) -> Fate:
        try:
            return await self._deliver(errand)
        except Skip as skip:
            return Skipped(skip.reason)
        except Exception as failure:
            return failure

    async def _deliver(self, errand: Errand) -> Deferred | None:
        rule, channel = errand.rule, self._policy.channels[errand.rule.channel]
        person = self._person(errand, channel)
        account = None if rule.to == "staff" else person.id
        question = Question(errand.event.tenant, errand.event.redemption_id, account, rule.first_redemption)
        standing = await self._ledger.ask(question)
        carrier = self._carriers[rule.channel]
        message = message_of(self._policy, errand.event, errand.payload, rule, person, standing)
        rendered = carrier.render(message)
        subject = _stack_of(errand, standing) if self._rules.settle(rule) else errand.event.redemption_id
        call = _call(errand.event.tenant, subject, rule)
        if deferred := await self._wait(errand, call, standing, person, channel):
            return deferred
        if rule.first_redemption:
            await self._require_first(call, person, standing)
        if not self._is_tracked(errand, channel):
            await self._send(errand, message, rendered)
            return None
        await self._make(errand, call, account, channel, message, rendered)
        return None

    def _person(self, errand: Errand, channel: Channel) -> Person:
        rule = errand.rule
        person = person_of(errand.payload, rule.to, self._policy.people)
        if person is None:
            raise Skip("no_holder")
        oldest = rule.oldest(channel)
        if oldest is not None and self._age(errand) > oldest:
            raise Skip("too_old")
        if rule.to != "staff" and not person.consents(channel):
            raise Skip("no_consent")
        return person

    def _age(self, errand: Errand) -> float:
        """Seconds from what happened to its effect: a message that waited for its channel is as young as it
        was. What has no date that anybody can read has just happened."""
        try:
            happened = datetime.fromisoformat(date_of(errand.event, errand.payload) or "")
        except ValueError:
            return 0.0
        aware = happened if happened.tzinfo else happened.replace(tzinfo=UTC)
        return (errand.attempt.since or self._runtime.now()) - aware.timestamp()

    async def _wait(
        self, errand: Errand, call: Subject, standing: Standing | None, person: Person, channel: Channel
    ) -> Deferred | None:
        """Whether it is too early, for the stack or for the hour. Raises Skip when there is nothing to tell
        any more."""
        if settle := self._rules.settle(errand.rule):
            wish = Wish(call, errand.event.redemption_id, errand.rule.channel, begin=False)
            permit = await self._calls.wish(wish)
            if permit.before is CallState.WAITING and permit.waited < settle:
                return Deferred(settle - permit.waited, "settling")
            await self._cancel_pair(errand, call, standing)
        if channel.quiet_hours is not None:
            quiet = seconds_of_quiet(channel.quiet_hours, person.clock, self._runtime.now())
            if quiet:
                return Deferred(quiet, "quiet_hours")
        return None

    async def _cancel_pair(self, errand: Errand, call: Subject, standing: Standing | None) -> None:
        """Raises Skip for a success that was undone before it was told, and for what undid it."""
        if errand.event.kind is Kind.SUCCEEDED:
            if standing is not None and standing.reversed and await self._calls.cancel(call):
                raise Skip("rolled_back")
            return
        told = [
            _call(call.tenant, call.id, rule) for rule in self._rules.undone_by(errand.rule, errand.event)
        ]
        # All, not any: what was told once has to be taken back.
        if told and all([await self._calls.cancel(each) for each in told]):
            raise Skip("rolled_back_unsent")

    async def _require_first(self, call: Subject, person: Person, standing: Standing | None) -> None:
        if person.id is None or (standing is not None and standing.has_earlier):
            raise Skip("not_first")
        mark = Subject(call.tenant, person.id, KIND_NUMBERS[Kind.SUCCEEDED], FIRST)
        if not (await self._calls.wish(Wish(mark, call.id, "", person.id))).granted:
            raise Skip("not_first")

    def _is_tracked(self, errand: Errand, channel: Channel) -> bool:
        return (
            not errand.alone
            or self._rules.settle(errand.rule) is not None
            or channel.cap is not None
            or _gives_up(channel)
        )

    async def _make(
        self,
        errand: Errand,
        call: Subject,
        account: str | None,
        channel: Channel,
        message: Message,
        rendered: Rendered,
    ) -> None:
        redemption, cap = errand.event.redemption_id, channel.cap if account is not None else None
        wish = Wish(call, redemption, errand.rule.channel, account, cap, channel.cap_seconds)
        permit = await self._calls.wish(wish._replace(generation=errand.attempt.generation))
        if not permit.granted:
            _tell(permit)
            return
        unknown = Refused("outcome_unknown", "nobody knows whether it was taken, and it is not repeated")
        if permit.before is CallState.BEGUN and _gives_up(channel):
            await self._calls.note(call, redemption, CallState.REFUSED)
            raise unknown
        try:
            await self._send(errand, message, rendered)
        except Unavailable as failure:
            if failure.sent and _gives_up(channel):
                await self._calls.note(call, redemption, CallState.REFUSED)
                raise unknown from failure
            if not failure.sent:
                await self._calls.note(call, redemption, CallState.FAILED)
            raise
        except Refused:
            await self._calls.note(call, redemption, CallState.REFUSED)
            raise
        await self._calls.note(call, redemption, CallState.ACCEPTED)

    async def _send(self, errand: Errand, message: Message, rendered: Rendered) -> None:
        """Raises Away in place of a call to a channel that answers nobody."""
        with errand.attempt.calling(errand.rule.channel):
            await self._carriers[errand.rule.channel].send(message, rendered)


def message_of(
    policy: Policy,
    event: RedemptionEvent,
    payload: dict[str, Any],
    rule: Rule,
    person: Person,
    standing: Standing | None,
) -> Message:
    """What a rule has to say of an event."""
    key = key_of(event, rule)
    content = content_of(event, payload, standing, key)
    template = policy.templates.get(rule.template_name)
    variables = variables_of(content, payload, person, policy.money)
    return Message(key, event.kind.value, rule, person, template, content, variables)


def _tell(permit: Permit) -> None:
    """What became of a call that is not ours to make: nothing more to do, or Skip, or Refused."""
    match permit.before:
        case CallState.CANCELLED:
            raise Skip("rolled_back")
        case CallState.ACCEPTED if permit.mine:
            return
        case CallState.REFUSED if permit.mine:
            raise Refused("refused_before", "an earlier try was refused")
        case CallState.WAITING | CallState.SKIPPED:
            raise Skip("over_cap")
        case CallState.FAILED if permit.mine:
            raise Skip("over_cap")
    raise Skip("told_with_stack")


def _call(tenant: str, subject: str, rule: Rule) -> Subject:
    return Subject(tenant, subject, KIND_NUMBERS[rule.kind], f"{rule.channel}:{rule.template_name}")


def _stack_of(errand: Errand, standing: Standing | None) -> str:
    """The redemption that all of a stack name as their parent, or the only one there is."""
    event = errand.event
    parent = standing.parent_id if standing is not None else None
    if parent is None and event.kind is Kind.SUCCEEDED:
        named = table(errand.payload, "redemption").get("redemption")
        parent = named if is_fit(named) else None
    return parent or event.redemption_id


def _gives_up(channel: Channel) -> bool:
    return getattr(channel, "on_unknown", "retry") == "give_up"
