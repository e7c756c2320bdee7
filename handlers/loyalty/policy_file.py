"""From a policy file to a Policy, or to every fault in it, each one line with its place."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from events.failures import Misconfigured
from handlers.loyalty.policy import Base, Condition, Policy, Version, starts_at
from handlers.tables import WrongPolicy, read_text, table_faults, toml_of, unknown_keys

MOST_PLACES = 9
LARGEST_TIMES = 1_000


def load_policy(path: Path) -> Policy:
    """The policy of a process. Raises Misconfigured with the first fault."""
    try:
        return read_policy(path)
    except WrongPolicy as wrong:
        more = f" (and {len(wrong.faults) - 1} more)" if len(wrong.faults) > 1 else ""
        raise Misconfigured(
            "loyalty_policy", f"{path}: {wrong.faults[0]}{more}; `redemptions loyalty check` shows all"
        ) from None


def read_policy(path: Path) -> Policy:
    """Raises WrongPolicy."""
    return parse_policy(read_text(path))


def parse_policy(text: str) -> Policy:
    """Raises WrongPolicy."""
    content = _with_moments(toml_of(text))
    faults = [*unknown_keys(content, ("versions",), "")]
    versions = content.get("versions")
    if not isinstance(versions, list) or not versions:
        raise WrongPolicy([*faults, "versions: there must be at least one [[versions]]"])
    for place, version in enumerate(versions, start=1):
        faults += table_faults(version, Version, f"versions[{place}]")
    if faults:
        raise WrongPolicy(faults)
    read = msgspec.convert(versions, tuple[Version, ...])
    faults += _contradictions(read)
    if faults:
        raise WrongPolicy(faults)
    return Policy(read)


def _with_moments(value: Any) -> Any:
    """A plain date means midnight UTC."""
    match value:
        case dict():
            return {key: _with_moments(inner) for key, inner in value.items()}
        case list():
            return [_with_moments(inner) for inner in value]
        case date() if not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def _contradictions(versions: Sequence[Version]) -> Iterator[str]:
    """What each value allows, and all of them together do not."""
    names = [version.version for version in versions]
    for number, version in enumerate(versions, start=1):
        place = f"versions[{number}]"
        if names.index(version.version) != number - 1:
            yield f"{place}.version: {version.version} is there twice"
        yield from _out_of_order(versions, number, place)
        needs_key = version.base in (Base.ORDER_METADATA, Base.CUSTOMER_METADATA)
        if needs_key and version.metadata_key is None:
            yield f"{place}.metadata_key: is missing, base is {version.base}"
        if not needs_key and version.metadata_key is not None:
            yield f"{place}.metadata_key: base {version.base} does not use it"
        if version.base is not Base.ITEMS and msgspec.to_builtins(version.items):
            yield f"{place}.items: base {version.base} does not use it"
        yield from _rule_faults(version, place)


def _out_of_order(versions: Sequence[Version], number: int, place: str) -> Iterator[str]:
    if number == 1:
        return
    start, before = starts_at(versions[number - 1]), starts_at(versions[number - 2])
    if start is None:
        yield f"{place}.effective_from: is missing; only the first version may be from the beginning"
    elif before is not None and start <= before:
        yield f"{place}.effective_from: must be later than that of the version before"


def _rule_faults(version: Version, place: str) -> Iterator[str]:
    kinds: dict[str, Sequence[Condition]] = {
        "multipliers": version.multipliers,
        "bonuses": version.bonuses,
        "exclusions": version.exclusions,
    }
    for kind, rules in kinds.items():
        for number, rule in enumerate(rules, start=1):
            if rule.from_ is not None and rule.until is not None and rule.until <= rule.from_:
                yield f"{place}.{kind}[{number}].until: must be later than from"
    for number, multiplier in enumerate(version.multipliers, start=1):
        times, at = multiplier.times, f"{place}.multipliers[{number}].times"
        if not times.is_finite() or not 0 <= times <= LARGEST_TIMES:
            yield f"{at}: must lie between 0 and {LARGEST_TIMES}"
        elif times != round(times, MOST_PLACES):
            yield f"{at}: has more than {MOST_PLACES} decimal places"
    for number, exclusion in enumerate(version.exclusions, start=1):
        if msgspec.to_builtins(exclusion).keys() <= {"name"}:
            yield f"{place}.exclusions[{number}]: has no condition and would exclude everything"
