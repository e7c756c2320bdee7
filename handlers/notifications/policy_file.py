"""From a notifications file to a Policy, or to every fault in it, each one line with its place."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from events.failures import Misconfigured
from handlers.notifications.addresses import fit_address, parsed_address
from handlers.notifications.credentials import Credentials, credentials_of
from handlers.notifications.policy import (
    CHANNELS,
    Channel,
    Email,
    Money,
    People,
    Policy,
    Rule,
    Slack,
    Template,
    Webhook,
    Word,
)
from handlers.notifications.templates import TemplateFault, compiled, known_locale
from handlers.notifications.timing import known_zone
from handlers.tables import WrongPolicy, field_faults, read_text, table_faults, toml_of, unknown_keys
from handlers.terms import RetryTable

TABLES: dict[str, type[msgspec.Struct]] = {"retry": RetryTable, "people": People, "money": Money}
USED = {"webhook": ("json",), "slack": ("text",), "email": ("subject", "text", "html"), "log": ("text",)}
"""The keys of a template that each type of channel uses."""
ESCAPING = {"subject": "text", "text": "text", "html": "html", "json": "json"}
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,1000}[\x21-\x7e])?")
OURS = re.compile(r"content-.*|host|connection|transfer-encoding|idempotency-key|webhook-.*|authorization")
LINK = re.compile(r"(https://|mailto:)[\x21-\x3b\x3d\x3f-\x7e]+")


def load_policy(path: Path) -> Policy:
    """The policy of a process. Raises Misconfigured with the first fault."""
    try:
        return read_policy(path)
    except WrongPolicy as wrong:
        raise _misconfigured(path, wrong) from None


def load_credentials(policy: Policy, path: Path, environment: Mapping[str, str]) -> dict[str, Credentials]:
    """The secrets that a policy names, by channel. Raises Misconfigured with the first fault."""
    try:
        return credentials_of(policy, environment)
    except WrongPolicy as wrong:
        raise _misconfigured(path, wrong) from None


def _misconfigured(path: Path, wrong: WrongPolicy) -> Misconfigured:
    more = f" (and {len(wrong.faults) - 1} more)" if len(wrong.faults) > 1 else ""
    return Misconfigured(
        "notifications_policy",
        f"{path}: {wrong.faults[0]}{more}; `redemptions notifications check` shows all",
    )


def read_policy(path: Path) -> Policy:
    """Raises WrongPolicy."""
    return parse_policy(read_text(path))


def parse_policy(text: str) -> Policy:
    """Raises WrongPolicy."""
    content = toml_of(text)
    faults = [
        *unknown_keys(content, Policy.__struct_fields__, ""),
        *_plain_faults(content),
        *_channel_faults(content),
        *_named_faults(content, "templates", Template),
        *_rule_faults(content),
    ]
    if faults:
        raise WrongPolicy(faults)
    channels = {name: _channel(table) for name, table in content.pop("channels", {}).items()}
    policy = msgspec.structs.replace(msgspec.convert(content, Policy), channels=channels)
    if faults := list(_contradictions(policy)):
        raise WrongPolicy(faults)
    return policy


def _plain_faults(content: dict[str, Any]) -> Iterator[str]:
    for name, struct in TABLES.items():
        if name in content:
            yield from table_faults(content[name], struct, name)
    if "concurrency" in content:
        kinds = {field.name: field.type for field in msgspec.structs.fields(Policy)}
        yield from field_faults(content["concurrency"], kinds["concurrency"], "concurrency")


def _channel_faults(content: dict[str, Any]) -> Iterator[str]:
    for name, channel, place in _named(content, "channels"):
        if not isinstance(channel, dict):
            yield f"{place}: must be a table"
            continue
        yield from (
            fault.replace(": must be", ": its name must be") for fault in field_faults(name, Word, place)
        )
        kind = channel.get("type")
        if kind is None:
            yield f"{place}.type: is missing; there are {', '.join(CHANNELS)}"
        elif not isinstance(kind, str) or kind not in CHANNELS:
            yield f"{place}.type: {kind!r} is unknown; did you mean {_nearest(str(kind), CHANNELS)}?"
        else:
            rest = {key: value for key, value in channel.items() if key != "type"}
            yield from table_faults(rest, CHANNELS[kind], place)


def _named_faults(content: dict[str, Any], key: str, struct: type[msgspec.Struct]) -> Iterator[str]:
    for _, value, place in _named(content, key):
        yield from table_faults(value, struct, place)
    for key in ("channels", "templates"):
        if not isinstance(content.get(key, {}), dict):
            yield f"{key}: must be tables, [{key}.NAME]"


def _rule_faults(content: dict[str, Any]) -> Iterator[str]:
    rules = content.get("rules", [])
    if not isinstance(rules, list):
        yield "rules: must be a list of tables, [[rules]]"
        return
    for number, rule in enumerate(rules, start=1):
        yield from table_faults(rule, Rule, f"rules[{number}]")


def _named(content: dict[str, Any], key: str) -> Iterator[tuple[str, Any, str]]:
    tables = content.get(key, {})
    for name, table in tables.items() if isinstance(tables, dict) else ():
        yield name, table, f"{key}.{name}"


def _channel(table: dict[str, Any]) -> Channel:
    return msgspec.convert(
        {key: value for key, value in table.items() if key != "type"}, CHANNELS[table["type"]]
    )


def _nearest(word: str, known: Iterable[str]) -> str:
    return get_close_matches(word, list(known), n=1, cutoff=0.0)[0]


def _contradictions(policy: Policy) -> Iterator[str]:
    """What each value allows, and all of them together do not."""
    if known_locale(policy.people.default_locale) is None:
        yield f"people.default_locale: nobody knows {policy.people.default_locale!r}"
    if known_zone(policy.people.default_zone) is None:
        yield f"people.default_zone: nobody knows {policy.people.default_zone!r}"
    for name, channel in policy.channels.items():
        yield from _unfit_channel(channel, f"channels.{name}")
    for name, template in policy.templates.items():
        yield from _unfit_template(template, f"templates.{name}")
    first: dict[tuple[str, str, str], int] = {}
    for number, rule in enumerate(policy.rules, start=1):
        yield from _unfit_rule(rule, policy, f"rules[{number}]")
        earlier = first.setdefault((rule.on, rule.channel, rule.template_name), number)
        if earlier != number:
            yield (
                f"rules[{number}]: rules[{earlier}] has the same event, channel and template, so their "
                "messages would have the same key; give one of them another name or template"
            )


def _unfit_channel(channel: Channel, place: str) -> Iterator[str]:
    for key in ("url", "secret", "authorization", "password"):
        given = [
            name for name in (key, f"{key}_env", f"{key}_file") if getattr(channel, name, None) is not None
        ]
        if len(given) > 1:
            yield f"{place}.{given[1]}: {given[0]} is there already"
        if key == "url" and isinstance(channel, Webhook | Slack) and not given:
            yield f"{place}.url: is missing"
    if channel.quiet_hours is not None and len(set(channel.quiet_hours.split("-"))) == 1:
        yield f"{place}.quiet_hours: begin when they end"
    if isinstance(channel, Webhook):
        yield from _unfit_headers(channel.headers, f"{place}.headers")
    if isinstance(channel, Email):
        yield from _unfit_mail(channel, place)


def _unfit_headers(headers: Mapping[str, str], place: str) -> Iterator[str]:
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            yield f"{place}: {name!r} is no header's name, or its value no header's value"
        elif OURS.fullmatch(name.lower()):
            yield f"{place}: {name} is set by the channel itself"


def _unfit_mail(channel: Email, place: str) -> Iterator[str]:
    for key in ("sender", "reply_to"):
        value = getattr(channel, key)
        if value is not None and parsed_address(value) is None:
            yield f"{place}.{key}: is no e-mail address"
    for value in channel.staff:
        if fit_address(value) is None:
            yield f"{place}.staff: {value!r} is no e-mail address"
    if channel.unsubscribe is not None and not LINK.fullmatch(channel.unsubscribe):
        yield f"{place}.unsubscribe: must be a link that begins with https:// or mailto:"
    with_password = channel.password_env is not None or channel.password_file is not None
    if with_password != (channel.username is not None):
        yield f"{place}.username: is needed with a password, and a password with it"
    if with_password and channel.security == "none":
        yield f"{place}.security: a password would go unencrypted"


def _unfit_template(template: Template, place: str) -> Iterator[str]:
    for key, escaping in ESCAPING.items():
        if (source := getattr(template, key)) is not None:
            try:
                compiled(source, escaping)
            except TemplateFault as wrong:
                yield f"{place}.{key}: {wrong}"


def _unfit_rule(rule: Rule, policy: Policy, place: str) -> Iterator[str]:
    if rule.channel not in policy.channels:
        yield f"{place}.channel: there is no [channels.{rule.channel}]; did you mean " + (
            f"{_nearest(rule.channel, policy.channels)}?" if policy.channels else "to add it?"
        )
        return
    channel = policy.channels[rule.channel]
    if isinstance(channel, Email) and rule.to == "staff" and not channel.staff:
        yield f"{place}.to: channels.{rule.channel} has no addresses under staff"
    template = policy.templates.get(rule.template_name)
    if template is None:
        if rule.template is not None:
            nearest = (
                f"; did you mean {_nearest(rule.template, policy.templates)}?" if policy.templates else ""
            )
            yield f"{place}.template: there is no [templates.{rule.template}]{nearest}"
        return
    kind = next(name for name, struct in CHANNELS.items() if isinstance(channel, struct))
    used = [key for key in USED[kind] if getattr(template, key) is not None]
    if not used or (kind == "email" and (template.subject is None or used == ["subject"])):
        needed = "subject, and text or html" if kind == "email" else USED[kind][0]
        yield f"templates.{rule.template_name}: a channel of type {kind} needs {needed}"
